"""Arrays in `.npy` files and zip members, read without ever running a pickle and without trusting their header."""

from __future__ import annotations

import struct
import tokenize
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

LARGEST_BYTES = 1 << 31
"""A single clip is never this large; a header that says so is damaged or hostile."""
DAMAGE = (ValueError, EOFError, SyntaxError, tokenize.TokenError, struct.error, RecursionError, MemoryError)
"""What a damaged header or body raises."""


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, column-major, dtype of the array that `stream` is at the beginning of; leaves it at the data.

    Raises:
        ValueError, EOFError: no `.npy` header, or one of Python objects.
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
    return shape, fortran, dtype


def read_array(stream: IO[bytes], largest: int = LARGEST_BYTES) -> NDArray[Any]:
    """The whole array of a `.npy` stream.

    Raises:
        ValueError, EOFError: no array, one of Python objects, one larger than `largest` bytes, or cut short.
    """
    shape, fortran, dtype = read_header(stream)
    count = 1
    for length in shape:
        count *= length
    expected = count * dtype.itemsize
    if expected > largest:
        raise ValueError(f"says it holds {expected:,} bytes, more than any clip has")
    data = stream.read(expected)
    if len(data) != expected:
        raise EOFError(f"cut short: {len(data):,} of {expected:,} bytes")
    array = np.frombuffer(data, dtype=dtype, count=count)
    return array.reshape(shape, order="F" if fortran else "C")
