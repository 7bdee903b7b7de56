"""Seals: a file that was hashed need not be hashed again as long as nobody has touched it.

A seal says: this very file (device, inode, size, times of content and of change) had the content its marker tells,
and its arrays lie there. Whatever writes to the file changes its time of change, which no program can set back; so
does a copy of it. What a seal cannot see is a medium that loses bits by itself: `mmcl-cache verify` reads every byte.

Seals never lie in the cache, which may come from a stranger: they are this user's own, below
`$XDG_CACHE_HOME/mmcl/seals` (`~/.cache`), and can be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_cache.store.files import write_json
from mmcl_cache.store.hdf5 import Place, make_place
from mmcl_cache.store.marker import Marker

VERSION = 1
KEPT_FROM = 32 << 20  # bytes of a variant; to hash fewer takes less time than is worth a file
# A file changed less than this ago may be changed again without its times showing it: clocks of files are coarse.
SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class Stamp:
    """Which file, in which state."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, handle: int) -> Stamp:
        """Of an open file."""
        found = os.fstat(handle)
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def is_settled(self) -> bool:
        return time.time_ns() - max(self.modified_ns, self.changed_ns) >= SETTLED_NS


@dataclass(frozen=True)
class Seal:
    """What was found when the file was hashed: its marker, which agreed, and where its arrays lie."""

    stamp: Stamp
    marker: Marker
    places: Mapping[str, Place]

    def to_json(self) -> dict[str, Any]:
        return {
            "stamp": asdict(self.stamp),
            "marker": asdict(self.marker),
            "arrays": {name: [p.offset, p.dtype.str, list(p.shape)] for name, p in self.places.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Seal:
        """Raises KeyError, TypeError or ValueError for what `to_json` did not write."""
        places = {
            name: make_place(int(offset), _dtype(dtype), tuple(map(int, shape)))
            for name, (offset, dtype, shape) in value["arrays"].items()
        }
        stamp = Stamp(**value["stamp"])
        if any(place.offset + place.nbytes > stamp.size for place in places.values()):
            raise ValueError("an array that ends outside its file")
        return cls(stamp, Marker(**value["marker"]), places)


class SealBook:
    """The seals of one field variant's shards, kept from one process to the next."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seals: dict[int, Seal] | None = None
        self._is_new = False

    def find(self, index: int, stamp: Stamp, marker: Marker) -> Mapping[str, Place] | None:
        """Where the arrays of shard `index` lie, if it is the file that was hashed, unchanged; otherwise None."""
        seal = self._opened().get(index)
        if seal is None or seal.stamp != stamp or seal.marker != marker:
            return None
        return seal.places

    def __contains__(self, index: int) -> bool:
        """Shard `index` was sealed once; whether it still is shows when it is opened."""
        return index in self._opened()

    def add(self, index: int, stamp: Stamp, marker: Marker, places: Mapping[str, Place]) -> None:
        """Seal a shard whose content, read after `stamp` was taken, is what its marker says."""
        if stamp.is_settled():
            self._opened()[index] = Seal(stamp, marker, places)
            self._is_new = True

    def save(self) -> None:
        """Keep new seals for later processes, where there is a place for them and hashing costs anything."""
        seals, path = self._opened(), _book_path(self._folder)
        if not self._is_new or path is None or sum(s.stamp.size for s in seals.values()) < KEPT_FROM:
            return
        self._is_new = False
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_json(
                path,
                {
                    "version": VERSION,
                    "folder": str(self._folder.resolve()),
                    "shards": {str(k): seal.to_json() for k, seal in seals.items()},
                },
            )

    def _opened(self) -> dict[int, Seal]:
        if self._seals is None:
            self._seals = _read_book(_book_path(self._folder))
        return self._seals


@cache
def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(name)


def _book_path(folder: Path) -> Path | None:
    """None where this user has no place for such files."""
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(given) if given else Path.home() / ".cache"
    except RuntimeError:
        return None
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    return base / "mmcl" / "seals" / f"{name}.json"


def _read_book(path: Path | None) -> dict[int, Seal]:
    """No seal where there is no book, or one that cannot be used: the shards are then hashed again."""
    if path is None:
        return {}
    try:
        value = json.loads(path.read_bytes())
        if value["version"] != VERSION:
            return {}
        return {int(k): Seal.from_json(seal) for k, seal in value["shards"].items()}
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
