"""One writer a cache. The operating system frees the lock of a dead process, so none is ever left behind."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmcl_cache.errors import CacheError

LOCK_NAME = ".build.lock"


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Hold the cache for writing.

    Raises:
        CacheError: another process holds it; the message says which, where and since when.
    """
    with open(folder / LOCK_NAME, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CacheError(
                f"{folder} is being written by {_holder(file.name)}; wait for it or stop it"
            ) from None
        except OSError as error:
            raise CacheError(
                f"{folder}: its file system cannot lock files ({error}); use one that can"
            ) from None
        file.truncate(0)
        json.dump({"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%F %T")}, file)
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _holder(path: str) -> str:
    try:
        held = json.loads(Path(path).read_text(encoding="utf-8"))
        return f"process {held['pid']} on {held['host']} since {held['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
