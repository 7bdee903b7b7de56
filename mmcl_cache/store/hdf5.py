"""The only place that opens HDF5, and the rules for it.

A cache may come from a stranger: a file may hold links to other files, virtual data sets, external storage,
compressed bombs or claimed shapes. None of that is ever followed: what is opened is a flat group of plain,
contiguous arrays of fixed-size numbers, with no more bytes than the file itself has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mmcl_cache.errors import DamagedCacheError


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, str | int]) -> None:
    """A new file with one contiguous data set an array. The same arrays give the same bytes."""
    with h5py.File(path, "w", libver=("v110", "v110"), track_order=False) as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
        file.flush()


@contextmanager
def open_arrays(path: Path) -> Iterator[ArrayFile]:
    """A file of plain arrays, checked link by link before anything is read.

    Raises:
        FileNotFoundError: no such file.
        DamagedCacheError: not HDF5, or something in it that a cache never holds.
    """
    size = path.stat().st_size
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise DamagedCacheError(
            f"{path}: not readable as HDF5 ({_first_line(error)}); rebuild this shard"
        ) from None
    with file:
        try:
            arrays = {name: _checked_dataset(file, name, size, path) for name in _hard_links(file, path)}
            attributes = {name: file.attrs[name] for name in file.attrs}
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise DamagedCacheError(
                f"{path}: damaged HDF5 ({_first_line(error)}); rebuild this shard"
            ) from None
        yield ArrayFile(path, arrays, attributes)


class ArrayFile:
    """An open file of plain arrays: names, shapes, and reading."""

    def __init__(self, path: Path, arrays: dict[str, h5py.Dataset], attributes: dict[str, Any]) -> None:
        self.path = path
        self.attributes = attributes
        self._arrays = arrays

    @property
    def names(self) -> set[str]:
        return set(self._arrays)

    def read(
        self, name: str, dtype: np.dtype[Any] | None = None, shape: tuple[int | None, ...] = ()
    ) -> np.ndarray:
        """One whole array, of exactly the dtype and shape expected (None stands for any length).

        Raises:
            DamagedCacheError: it is not there or is something else.
        """
        found = self._arrays.get(name)
        if found is None:
            raise DamagedCacheError(f"{self.path}: no array {name!r}; rebuild this shard")
        agrees = len(found.shape) == len(shape) and all(
            s is None or s == f for s, f in zip(shape, found.shape, strict=True)
        )
        if not agrees or (dtype is not None and found.dtype != dtype):
            expected = f"{dtype} {shape}".replace("None", "any")
            raise DamagedCacheError(
                f"{self.path}: array {name!r} is {found.dtype} {found.shape}, {expected} expected; rebuild this shard"
            )
        array = np.empty(found.shape, dtype=found.dtype)
        if array.size:
            try:
                found.read_direct(array)
            except OSError as error:
                raise DamagedCacheError(f"{self.path}: array {name!r}: {_first_line(error)}") from None
        return array


def _hard_links(file: h5py.File, path: Path) -> list[str]:
    names = list(file.keys())
    for name in names:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise DamagedCacheError(f"{path}: {name!r} is a link to somewhere else, which is never followed")
    return names


def _checked_dataset(file: h5py.File, name: str, file_bytes: int, path: Path) -> h5py.Dataset:
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise DamagedCacheError(f"{path}: {name!r} is not an array")
    creation = found.id.get_create_plist()
    if found.is_virtual or found.external:
        raise DamagedCacheError(
            f"{path}: array {name!r} is stored outside this file, which is never followed"
        )
    if creation.get_layout() != h5py.h5d.CONTIGUOUS or creation.get_nfilters():
        raise DamagedCacheError(f"{path}: array {name!r} is not stored as one plain block")
    if found.dtype.kind not in "biufS" or found.dtype.hasobject:
        raise DamagedCacheError(f"{path}: array {name!r} is of type {found.dtype}, which a cache never holds")
    if found.nbytes > file_bytes or (found.nbytes and found.id.get_storage_size() != found.nbytes):
        raise DamagedCacheError(f"{path}: array {name!r} claims {found.nbytes} bytes, more than are stored")
    return found


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
