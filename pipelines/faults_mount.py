"""Real mounts that nobody else sees: small disks and read-only ones, in a child with a mount namespace of its own."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from pathlib import Path

from pipelines.faults_child import run
from pipelines.faults_outcome import Outcome

NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000  # CLONE_NEWNS, CLONE_NEWUSER of sched.h
READ_ONLY, REMOUNT, BIND, EVERYWHERE, PRIVATE = 1, 32, 4096, 16384, 1 << 18  # MS_* of sys/mount.h

_libc = ctypes.CDLL(None, use_errno=True)


class NoMounts(Exception):
    """This machine lets us mount nothing; the message says why."""


def in_namespace(outcome: Outcome, work: Callable[[Outcome], None], log: Path) -> Outcome:
    """Do the work in a child that may mount what it likes; what it noted, or why that cannot be."""
    answer = log.with_suffix(".json")

    def isolated() -> None:
        try:
            enter_namespace()
            with outcome.timed():
                work(outcome)
        except NoMounts as reason:
            outcome.skipped = str(reason)
        answer.write_text(json.dumps(outcome.to_json()))

    ended = run(isolated, log)
    if ended.code:
        outcome.note([ended.output])
        return outcome
    return Outcome(**json.loads(answer.read_text()))


def enter_namespace() -> None:
    """From here on this process and its children see their own mounts; they vanish with them.

    Raises:
        NoMounts: neither root nor a user namespace can be had.
    """
    user, group = os.getuid(), os.getgid()
    if _libc.unshare(NEW_MOUNTS):
        if _libc.unshare(NEW_MOUNTS | NEW_USER):
            raise NoMounts(f"no mount namespace for this user ({os.strerror(ctypes.get_errno())})")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount("none", Path("/"), "", EVERYWHERE | PRIVATE)


def mount_memory(at: Path, settings: str) -> None:
    """A disk in memory; settings as `mount -o` takes them, such as size=1m,nr_inodes=40."""
    at.mkdir(parents=True, exist_ok=True)
    _mount("tmpfs", at, "tmpfs", 0, settings)


def resize_memory(at: Path, settings: str) -> None:
    _mount("tmpfs", at, "tmpfs", REMOUNT, settings)


def make_read_only(folder: Path) -> None:
    """For root too."""
    _mount(str(folder), folder, "", BIND)
    _mount("none", folder, "", REMOUNT | BIND | READ_ONLY)


def unmount(folder: Path) -> None:
    _check(_libc.umount2(os.fsencode(folder), 2))  # MNT_DETACH


def _mount(what: str, at: Path, kind: str, flags: int, settings: str = "") -> None:
    _check(
        _libc.mount(what.encode(), os.fsencode(at), kind.encode(), ctypes.c_ulong(flags), settings.encode())
    )


def _check(answer: int) -> None:
    if answer:
        raise NoMounts(f"mounting is refused here ({os.strerror(ctypes.get_errno())})")
