"""The elements of a MATLAB 5 file, taken apart far enough to hand on one plain array of it and nothing else.

Source: MAT-File Format (MathWorks), version 5: a header of 128 bytes, then elements: type and number of bytes (4 each),
then the data. Type 15 is a compressed element; type 14 a matrix: flags (class in the lowest byte), dimensions, name.
A small element has its number of bytes in the upper half of its type, and its data in the next 4 bytes.
"""

from __future__ import annotations

import struct
import zlib

HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMERIC = range(6, 16)  # double, single, and the whole numbers of 8 to 64 bits
_LARGEST_HEAD = 1 << 10  # of a matrix: its flags, dimensions and name


def is_version_5(data: bytes) -> bool:
    """Whether the header ends in the version and the byte order of this format."""
    return len(data) >= HEADER_BYTES and data[126:128] in (b"IM", b"MI") and 1 in data[124:126]


def pick_matrix(data: bytes, name: str, largest: int) -> bytes | None:
    """The same file with nothing but the array of this name, not compressed; None where it has no numbers of it.

    Args:
        largest: bytes the array may take when it is decompressed.

    Raises:
        ValueError: an element that goes beyond the file, or an array larger than `largest`.
        zlib.error: a compressed element that is damaged.
    """
    order = "<" if data[126:128] == b"IM" else ">"
    at = HEADER_BYTES
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        body = data[at + 8 : at + 8 + size]
        if len(body) != size:
            raise ValueError("cut short")
        at += 8 + size
        if kind == _COMPRESSED:
            if _read_name(_inflate(body, _LARGEST_HEAD), order) != name:
                continue
            element = _inflate(body, largest + _LARGEST_HEAD)
            if len(element) > largest:
                raise ValueError(f"{name} is larger than {largest:,} bytes")
        elif kind == _MATRIX:
            element = data[at - 8 - size : at]
            if _read_name(element[:_LARGEST_HEAD], order) != name:
                continue
        else:
            continue
        if _lacks_numbers(element, order):
            raise ValueError("cut short")
        is_numeric = element[16 if order == "<" else 19] in _NUMERIC
        return data[:HEADER_BYTES] + element if is_numeric else None
    return None


def _inflate(body: bytes, most: int) -> bytes:
    """The first `most` bytes of what was compressed, or all of it."""
    return zlib.decompressobj().decompress(body, most)


def _read_name(head: bytes, order: str) -> str | None:
    """The name of a matrix from the beginning of its element; None where it is no matrix."""
    if len(head) < 32 or struct.unpack_from(f"{order}I", head)[0] != _MATRIX:
        return None
    at = 24  # after the tag of the matrix and its flags
    _, at = _read_small(head, at, order)
    name, _ = _read_small(head, at, order)
    return name.decode("latin-1")


def _lacks_numbers(element: bytes, order: str) -> bool:
    """Whether the values of a matrix, which come after its name, claim more bytes than there are."""
    _, at = _read_small(element, 24, order)
    _, at = _read_small(element, at, order)
    if at + 8 > len(element):
        return False
    kind, size = struct.unpack_from(f"{order}II", element, at)
    return not kind >> 16 and at + 8 + size > len(element)


def _read_small(head: bytes, at: int, order: str) -> tuple[bytes, int]:
    """The data of the element at `at`, and where the next one begins."""
    if at + 8 > len(head):
        return b"", len(head)
    (kind,) = struct.unpack_from(f"{order}I", head, at)
    if kind >> 16:
        return head[at + 4 : at + 4 + min(kind >> 16, 4)], at + 8
    (size,) = struct.unpack_from(f"{order}I", head, at + 4)
    return head[at + 8 : at + 8 + size], at + 8 + size + -size % 8
