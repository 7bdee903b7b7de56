"""Files that are either whole or not there: written beside their place, synced, renamed into it."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmcl_cache.errors import DamagedCacheError
from mmcl_cache.store.fingerprint import canonical_json
from mmcl_cache.store.json_text import parse_strict_json
from mmcl_cache.store.regular import read_regular

MAX_JSON_BYTES = 16 << 20
_TEMPORARY = ".tmp-"


@contextmanager
def written_in_place(path: Path) -> Iterator[Path]:
    """A temporary path to write to; on leaving, its content is synced and takes the name `path`.

    An exception removes the temporary file and leaves `path` as it was.
    """
    temporary = path.with_name(f"{_TEMPORARY}{socket.gethostname()}-{os.getpid()}-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_temporaries(folder: Path, alone: bool = False) -> int:
    """Remove what processes that no longer run left half written. Returns how many files.

    Args:
        alone: no other process writes here, so that every such file is left over, whichever host and process it names.
            Without, only those of processes of this host that are gone: in containers, where every build is process 1
            of a host of its own, that finds none.
    """
    removed = 0
    here = f"{_TEMPORARY}{socket.gethostname()}-"
    for path in folder.glob(f"{_TEMPORARY}*"):
        pid = path.name[len(here) :].split("-", 1)[0] if path.name.startswith(here) else ""
        dead = pid.isdigit() and int(pid) != os.getpid() and not is_running(int(pid))
        if alone or dead:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def is_running(pid: int) -> bool:
    """Is there such a process on this host, whoever owns it?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """`value` as JSON that people can read, atomically."""
    canonical_json(value)  # refuses what JSON cannot say exactly, before anything is written
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    with written_in_place(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file that may come from anyone.

    Raises:
        FileNotFoundError: no such file.
        NotADirectoryError: a file where its folder should be.
        DamagedCacheError: not a regular file, too large, not JSON, too deep, or not an object.
    """
    try:
        value = parse_strict_json(read_regular(path, MAX_JSON_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise DamagedCacheError(f"{path}: cannot be read ({error.strerror}); restore or rebuild it") from None
    except ValueError as error:
        raise DamagedCacheError(f"{path}: not readable as JSON ({error}); restore or rebuild it") from None
    if not isinstance(value, dict):
        raise DamagedCacheError(f"{path}: not a JSON object; restore or rebuild it")
    return value
