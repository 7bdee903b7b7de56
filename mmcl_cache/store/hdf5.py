"""The only place that opens HDF5, and the rules for it.

A cache may come from a stranger: a file may hold links to other files, virtual data sets, external storage,
compressed bombs or claimed shapes. None of that is ever followed: what is opened is a flat group of plain,
contiguous arrays of fixed-size numbers, with no more bytes than the file itself has.

HDF5 says where the arrays lie; their bytes are then taken from the file's content, or from memory that holds it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from mmcl_cache.errors import DamagedCacheError
from mmcl_cache.store.schema import MAX_ID_BYTES

KINDS = "biufS"  # of numpy: what a cache holds
ATTRIBUTES = ("fingerprint",)  # that a reader asks for
MOST_ARRAYS = 1000


class Place(NamedTuple):
    """Where a plain array lies in its file: `offset` in bytes, its type and shape."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def make_place(offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Place:
    """Raises:
    ValueError: what cannot be a plain array of a cache.
    """
    if offset < 0 or min(shape, default=0) < 0:
        raise ValueError(f"no array lies at {offset} with shape {shape}")
    if dtype.kind not in KINDS or dtype.hasobject:
        raise ValueError(f"it is of type {dtype}, which a cache never holds")
    return Place(offset, dtype, shape)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, str | int]) -> None:
    """A new file with one contiguous data set an array. The same arrays give the same bytes.

    HDF5 fills a file in memory, and Python writes that out: when a disk refuses in the middle, HDF5 is left with
    objects that it cannot close, and the process ends in a segmentation fault instead of an error.

    Raises:
        OSError: the disk refused.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver=("v110", "v110"), track_order=False) as file:
        for name, value in attributes.items():
            # As text of fixed length: HDF5 keeps others in a heap, see `_plain_attributes`.
            file.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
        file.flush()
    with open(path, "wb") as out:
        out.write(memory.getbuffer())


def find_arrays(
    path: Path, content: bytes | None = None, only: Collection[str] | None = None
) -> tuple[dict[str, Place], dict[str, Any]]:
    """Where the arrays of a file lie, checked link by link before anything is read; and its attributes.

    Args:
        content: the bytes of the file where they are in memory; the file itself is then left alone.
        only: arrays with other names are neither looked at nor found; None for all.

    Raises:
        FileNotFoundError: no such file.
        DamagedCacheError: not HDF5, or something in it that a cache never holds.
    """
    size = path.stat().st_size if content is None else len(content)
    try:
        # Only what says where arrays lie is asked of the content; HDF5's own way to open memory copies it.
        file = h5py.File(path if content is None else io.BytesIO(content), "r", locking=False)
    except (OSError, ValueError) as error:
        raise DamagedCacheError(
            f"{path}: not readable as HDF5 ({_first_line(error)}); rebuild this shard"
        ) from None
    with file:
        try:
            if file.userblock_size:
                raise DamagedCacheError(f"{path}: begins with something that is not HDF5; rebuild this shard")
            names = [name for name in _hard_links(file, path) if only is None or name in only]
            places = {name: _find_array(file, name, size, path) for name in names}
            return places, _plain_attributes(file, path)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise DamagedCacheError(
                f"{path}: damaged HDF5 ({_first_line(error)}); rebuild this shard"
            ) from None


class ArrayFile:
    """A file of plain arrays, to be read array by array.

    Args:
        path: for messages.
        source: the file's content, or a handle of it that can be read.
        places: of its arrays, as `find_arrays` found them.
    """

    def __init__(self, path: Path, source: bytes | int, places: Mapping[str, Place]) -> None:
        self.path = path
        self._source = source
        self._places = places

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def read(
        self, name: str, dtype: np.dtype[Any] | None = None, shape: tuple[int | None, ...] = ()
    ) -> np.ndarray:
        """One whole array, of exactly the dtype and shape expected (None stands for any length).

        Raises:
            DamagedCacheError: it is not there or is something else.
        """
        found = self._find(name, dtype, shape)
        array = np.empty(found.shape, dtype=found.dtype)
        self.read_into(array, name, 0)
        return array

    def length(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
        """How many elements of this dtype and shape the array has.

        Raises:
            DamagedCacheError: it is not there or is something else.
        """
        return self._find(name, dtype, (None, *shape)).shape[0]

    def read_into(self, into: np.ndarray, name: str, begin: int) -> None:
        """Elements `begin`, `begin` + 1 … of an array, as many as `into` holds, which lies in one piece.

        Raises:
            DamagedCacheError: it is not there, is of another type, or has not so many.
        """
        found = self._places.get(name)
        if found is None or found.dtype != into.dtype or found.shape[1:] != into.shape[1:]:
            found = self._find(name, into.dtype, (None, *into.shape[1:]))  # which says what is wrong
        if begin < 0 or begin + len(into) > found.shape[0]:
            raise DamagedCacheError(f"{self.path}: array {name!r} has not {begin + len(into)} rows")
        if into.size:
            place = found.offset + begin * (into.nbytes // len(into))
            self._fill(into.reshape(-1).view(np.uint8).data, place, name)

    def _find(self, name: str, dtype: np.dtype[Any] | None, shape: tuple[int | None, ...]) -> Place:
        found = self._places.get(name)
        if found is None:
            raise DamagedCacheError(f"{self.path}: no array {name!r}; rebuild this shard")
        agrees = found.shape == shape or (
            len(found.shape) == len(shape)
            and all(s is None or s == f for s, f in zip(shape, found.shape, strict=True))
        )
        if not agrees or (dtype is not None and found.dtype != dtype):
            expected = f"{dtype} {shape}".replace("None", "any")
            raise DamagedCacheError(
                f"{self.path}: array {name!r} is {found.dtype} {found.shape}, {expected} expected; rebuild this shard"
            )
        return found

    def _fill(self, into: memoryview, offset: int, name: str) -> None:
        if isinstance(self._source, bytes):
            into[:] = memoryview(self._source)[offset : offset + len(into)]
            return
        done = 0
        while done < len(into):
            try:
                read = os.preadv(self._source, [into[done:]], offset + done)
            except OSError as error:
                raise DamagedCacheError(f"{self.path}: array {name!r}: {_first_line(error)}") from None
            if not read:
                raise DamagedCacheError(f"{self.path}: array {name!r}: the file ends before it")
            done += read


def _plain_attributes(file: h5py.File, path: Path) -> dict[str, Any]:
    """Those of `ATTRIBUTES` that are numbers or text of fixed length.

    Text of any length, as the first caches had it, is passed over: HDF5 reads it from a heap, and a heap can be made
    in which it never comes to an end.
    """
    found = {}
    for name in ATTRIBUTES:
        if name not in file.attrs:
            continue
        attribute = h5py.h5a.open(file.id, name.encode())
        kind = attribute.dtype.kind
        if attribute.shape != () or kind not in "iuSO" or attribute.get_storage_size() > MAX_ID_BYTES:
            raise DamagedCacheError(f"{path}: attribute {name!r} is not what a cache has; rebuild this shard")
        if kind != "O":
            value = file.attrs[name]
            found[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return found


def _hard_links(file: h5py.File, path: Path) -> list[str]:
    if len(file) > MOST_ARRAYS:
        raise DamagedCacheError(f"{path}: {len(file)} arrays; no cache has so many")
    names = list(file.keys())
    for name in names:
        if file.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise DamagedCacheError(f"{path}: {name!r} is a link to somewhere else, which is never followed")
    return names


def _find_array(file: h5py.File, name: str, file_bytes: int, path: Path) -> Place:
    # By the low-level interface: the same questions take a third of the time, and a cache has thousands of arrays.
    found = h5py.h5o.open(file.id, name.encode())
    if not isinstance(found, h5py.h5d.DatasetID):
        raise DamagedCacheError(f"{path}: {name!r} is not an array")
    creation = found.get_create_plist()
    layout = creation.get_layout()
    if layout == h5py.h5d.VIRTUAL or creation.get_external_count():
        raise DamagedCacheError(
            f"{path}: array {name!r} is stored outside this file, which is never followed"
        )
    if layout != h5py.h5d.CONTIGUOUS or creation.get_nfilters():
        raise DamagedCacheError(f"{path}: array {name!r} is not stored as one plain block")
    try:
        place = make_place(found.get_offset() or 0, found.dtype, found.shape)
    except ValueError as error:
        raise DamagedCacheError(f"{path}: array {name!r}: {error}") from None
    stored = found.get_storage_size() if place.nbytes else 0
    if place.nbytes and (stored != place.nbytes or place.offset + place.nbytes > file_bytes):
        raise DamagedCacheError(f"{path}: array {name!r} claims {place.nbytes} bytes, more than are stored")
    return place


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
