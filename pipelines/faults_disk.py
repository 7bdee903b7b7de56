"""Disks that fail under a build, and folders that vanish: one line and exit code 2, and nothing finished is lost."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from functools import partial
from pathlib import Path

import mmcl_cache.store.shard as store_shard
from mmcl_cache.fields.recording import Recorder
from pipelines.faults_child import BROKEN, FULL, Point, Spell, before, die, fail
from pipelines.faults_mount import in_namespace, make_read_only, mount_memory, resize_memory, unmount
from pipelines.faults_outcome import Outcome
from pipelines.faults_workshop import Trial, Workshop

REFUSING = ("sync", "rename", "write")
KEPT = "mend the disk and run the same command again"


def refuse_calls(kind: str, number: int, shop: Workshop, count: int) -> Outcome:
    """System calls of the store fail with this error number from one of them on, as on a disk that stays full."""
    outcome = Outcome(kind)
    with outcome.timed():
        for n in range(count):
            cache = shop.new_cache()
            spell = before(shop.some_call(REFUSING[n % len(REFUSING)]), fail(number), lasting=True)
            ended = shop.run(shop.command(cache), [spell])
            shop.settle(outcome, cache, [ended.trouble(2, os.strerror(number)), ended.trouble(2, KEPT)])
    return outcome


def limit_file_size(shop: Workshop, count: int) -> Outcome:
    """The kernel itself refuses to write on, in the middle of a file (RLIMIT_FSIZE)."""
    outcome = Outcome("file larger than the kernel allows (RLIMIT_FSIZE)")
    sizes = sorted(p.stat().st_size for p in shop.reference.rglob("*.h5"))
    with outcome.timed():
        for n in range(count):
            cache = shop.new_cache()
            most = sizes[shop.random.randint(0, len(sizes) - 1)] - 1 if n else sizes[-1] - 1
            ended = shop.run(shop.command(cache), [partial(_allow_bytes, most)])
            shop.settle(outcome, cache, [ended.trouble(2, os.strerror(errno.EFBIG)), ended.trouble(2, KEPT)])
    return outcome


def _allow_bytes(most: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def fill_disk(shop: Workshop, count: int) -> Outcome:
    """A real file system with room, or with inodes, for a part of the cache; given more, the same command completes."""

    def fill(outcome: Outcome) -> None:
        size = sum(p.stat().st_size for p in shop.reference.rglob("*"))
        files = len(list(shop.reference.rglob("*")))
        for n in range(count):
            disk = shop.root / f"disk-{n}"
            share = shop.random.uniform(0.1, 0.9)
            small = f"size={int(share * size)}" if n % 2 == 0 else f"nr_inodes={int(share * files)}"
            mount_memory(disk, small)
            ended = shop.run(shop.command(disk / "cache"))
            resize_memory(disk, "size=1g,nr_inodes=10000")
            told = [ended.trouble(2, os.strerror(FULL)), ended.trouble(2, KEPT)]
            shop.settle(outcome, disk / "cache", told)
            unmount(disk)

    return in_namespace(Outcome("disk really full: bytes, inodes (tmpfs)"), fill, shop.root / "log-disk")


def forbid_writing(shop: Workshop, count: int) -> Outcome:
    """A half-made cache on a disk that is mounted read-only now, and a new one on such a disk."""

    def forbid(outcome: Outcome) -> None:
        for n in range(count):
            cache = shop.new_cache()
            shop.run(shop.command(cache), [before(Point(store_shard, "write_marker", 3), die)])
            folder = cache if n % 2 == 0 else cache.parent / "new"
            if n % 2:
                folder.mkdir(exist_ok=True)
            make_read_only(folder)
            ended = shop.run(shop.command(folder if n % 2 == 0 else folder / "cache"))
            unmount(folder)
            shop.settle(outcome, cache, [ended.trouble(2, os.strerror(errno.EROFS))])

    return in_namespace(Outcome("cache on a read-only disk"), forbid, shop.root / "log-read-only")


def remove_cache(shop: Workshop, count: int) -> Outcome:
    """Somebody removes the cache's folder while it is being made: nothing is there to keep, the line says so."""
    outcome = Outcome("cache folder removed while it is made")
    with outcome.timed():
        for _ in range(count):
            cache = shop.new_cache()
            ended = shop.run(
                shop.command(cache), [before(shop.some_call("write"), partial(shutil.rmtree, cache))]
            )
            cache.mkdir(exist_ok=True)
            shop.settle(outcome, cache, [ended.trouble(2, "was removed while it was being written")])
    return outcome


def lose_source(shop: Workshop, count: int) -> Outcome:
    """The source goes away as a disk does that is unplugged, or a mount, which leaves an empty folder behind."""
    outcome = Outcome("source gone, or its mount empty")
    with outcome.timed():
        for n in range(count):
            cache, source = shop.new_cache(), shop.root / "vanishing"
            shutil.copytree(shop.source, source, dirs_exist_ok=True)
            away = shop.root / "away"
            lose: Spell = before(
                # Early enough for a file to be missing.
                Point(Recorder, "__call__", shop.random.randint(2, shop.calls["decode"])),
                partial(_take_away, source, away, leave_empty=n % 2 == 1),
            )
            command = shop.command(cache, source=source)
            ended = shop.run(command, [lose])
            if source.is_dir():
                source.rmdir()
            away.rename(source)
            told = [ended.trouble(2, "is gone or empty now"), ended.trouble(2, "bring it back")]
            shop.settle(outcome, cache, told, command=command)
    return outcome


def _take_away(source: Path, away: Path, leave_empty: bool) -> None:
    source.rename(away)
    if leave_empty:
        source.mkdir()


TRIALS: dict[str, Trial] = {
    "disk full (ENOSPC)": partial(refuse_calls, "disk full (ENOSPC)", FULL),
    "disk broken (EIO)": partial(refuse_calls, "disk broken (EIO)", BROKEN),
    "file larger than the kernel allows (RLIMIT_FSIZE)": limit_file_size,
    "disk really full: bytes, inodes (tmpfs)": fill_disk,
    "cache on a read-only disk": forbid_writing,
    "cache folder removed while it is made": remove_cache,
    "source gone, or its mount empty": lose_source,
}
