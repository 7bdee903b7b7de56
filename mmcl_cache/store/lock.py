"""One writer a cache. The operating system frees the lock of a dead process, so none is ever left behind.

A build by one process holds the lock alone. Processes that make disjoint shards of one cache hold it together, so that
no other build can begin while any of them lives.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from mmcl_cache.errors import CacheError
from mmcl_cache.store.files import is_running

LOCK_NAME = ".build.lock"


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Hold the cache for writing, alone.

    Raises:
        CacheError: another process holds it; the message says which, where and since when. Or it cannot be written.
    """
    with _open_lock(folder) as file:
        _take(file, folder, fcntl.LOCK_EX)
        _forget(file)
        _sign(file)
        try:
            yield
        finally:
            _forget(file)


@contextmanager
def share_lock(folder: Path) -> Iterator[None]:
    """Hold the cache for writing together with others that also share it.

    Raises:
        CacheError: another process holds it for itself alone. Or it cannot be written.
    """
    with _open_lock(folder) as file:
        _take(file, folder, fcntl.LOCK_SH)
        _sign(file)
        yield


def _open_lock(folder: Path) -> FileIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return FileIO(os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666), "r+")
    except OSError as error:
        raise CacheError(
            f"{folder} cannot be written ({error.strerror or error}); make it writable, or name another --cache"
        ) from None


def _take(file: FileIO, folder: Path, how: int) -> None:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CacheError(
            f"{folder} is being written by {_holder(folder / LOCK_NAME)}; wait for it or stop it"
        ) from None
    except OSError as error:
        raise CacheError(f"{folder}: its file system cannot lock files ({error}); use one that can") from None


def _sign(file: FileIO) -> None:
    """Tell whoever comes who holds it. A full disk does not matter: the lock holds without."""
    who = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%F %T")}
    with suppress(OSError):
        file.write((json.dumps(who) + "\n").encode())


def _forget(file: FileIO) -> None:
    with suppress(OSError):
        file.truncate(0)


def _holder(path: Path) -> str:
    """Who signed last and may still live; those that share a lock leave their lines behind when they end."""
    with suppress(OSError, ValueError):
        for line in reversed(path.read_text(encoding="utf-8").splitlines()):
            with suppress(ValueError, KeyError, TypeError):
                held = json.loads(line)
                if held["host"] != socket.gethostname() or is_running(held["pid"]):
                    return f"process {held['pid']} on {held['host']} since {held['since']}"
    return "another process"
