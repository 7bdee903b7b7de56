"""The cache's lock, shared by the processes of one build.

A build by one process holds the lock alone. Processes that make disjoint shards of one cache hold it together, so that
no other build can begin while any of them lives; the operating system frees the share of one that dies.
"""

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
from mmcl_cache.store.lock import LOCK_NAME


@contextmanager
def share_lock(folder: Path) -> Iterator[None]:
    """Hold the cache for writing together with others that also share it.

    Raises:
        CacheError: another process holds it for itself alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK_NAME, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CacheError(f"{folder} is being written by another build; wait for it or stop it") from None
        except OSError as error:
            raise CacheError(
                f"{folder}: its file system cannot lock files ({error}); use one that can"
            ) from None
        file.truncate(0)
        json.dump({"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%F %T")}, file)
        file.flush()
        yield
