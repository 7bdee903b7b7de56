"""Arrays in `.npy` files and `.npz` archives, read without ever running a pickle and without trusting a header."""

from __future__ import annotations

import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from mmcl_cache.store.regular import open_regular

LARGEST_BYTES = 1 << 26
"""A single clip is never this large, an hour of one person is not; a header that says so is damaged or hostile."""
DAMAGE = (
    ValueError,
    EOFError,
    SyntaxError,
    OverflowError,
    tokenize.TokenError,
    struct.error,
    RecursionError,
    MemoryError,
)
"""What a damaged header or body raises."""
ARCHIVE_DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, *DAMAGE)
"""What a damaged archive raises."""
_LARGEST_DIRECTORY = 1 << 20
# Clips padded with zeros compress well, but not like nothing but zeros.
_LARGEST_RATIO = 200
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, column-major, dtype of the array that `stream` is at the beginning of; leaves it at the data.

    Raises:
        DAMAGE: no `.npy` header, one of Python objects, or lengths that are none.
    """
    version = npy_format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = npy_format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = npy_format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"unknown version {version} of the .npy format")
    if dtype.hasobject:
        raise ValueError("holds Python objects; save plain numbers")
    if min(shape, default=0) < 0 or dtype.itemsize == 0:
        raise ValueError("its header gives a length below zero, or values without bytes")
    return shape, fortran, dtype


def read_array(stream: IO[bytes], largest: int = LARGEST_BYTES) -> NDArray[Any]:
    """The whole array of a `.npy` stream.

    Raises:
        DAMAGE: no array, one of Python objects, one larger than `largest` bytes, or cut short.
    """
    shape, fortran, dtype = read_header(stream)
    count = math.prod(shape)
    expected = count * dtype.itemsize
    if expected > largest:
        raise ValueError(f"says it holds {expected:.3g} bytes, more than any clip has")
    data = stream.read(expected)
    if len(data) != expected:
        raise EOFError(f"cut short: {len(data):,} of {expected:,} bytes")
    array = np.frombuffer(data, dtype=dtype, count=count)
    return array.reshape(shape, order="F" if fortran else "C")


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """An `.npz` file.

    Raises:
        OSError: see `open_regular`.
        ARCHIVE_DAMAGE: no zip, or one whose list of members alone would fill memory.
    """
    with open_regular(path) as stream:
        bounded = _ShortDirectory(stream)
        with zipfile.ZipFile(bounded) as archive:
            bounded.is_open = True
            size = os.fstat(stream.fileno()).st_size
            if sum(info.compress_size for info in archive.infolist()) > size:
                raise zipfile.BadZipFile("its members are together larger than the file")
            yield archive


@contextmanager
def open_member(archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    """One array of an archive.

    Raises:
        KeyError: no such member.
        ARCHIVE_DAMAGE: one that numpy would not have written.
    """
    info = archive.getinfo(name)
    # The other methods give as much as they like for one piece of input.
    if info.compress_type not in _COMPRESSIONS:
        raise zipfile.BadZipFile(f"{name} is compressed in a way numpy never does")
    if info.file_size > _LARGEST_RATIO * info.compress_size + (1 << 20):
        raise zipfile.BadZipFile(
            f"{name} says it is {info.file_size:,} bytes, far more than the file can hold"
        )
    with archive.open(info) as stream:
        yield stream


class _ShortDirectory:
    """A file that is read with care until its archive is open: the list of members is read in one piece."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.is_open = False
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int = -1) -> bytes:
        if self.is_open:
            return self._stream.read(size)
        data = self._stream.read(_LARGEST_DIRECTORY + 1 if size < 0 else min(size, _LARGEST_DIRECTORY + 1))
        if len(data) > _LARGEST_DIRECTORY:
            raise zipfile.BadZipFile("its list of members is far too long")
        return data
