"""MATLAB files: UTD-MHAD's skeletons and depth."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from scipy.io import savemat

from tests.hostile.case import Case, write

HEADER = b"MATLAB 5.0 MAT-file, made by hand".ljust(124) + struct.pack("<H", 0x0100) + b"IM"


def element(kind: int, data: bytes, size: int | None = None) -> bytes:
    return struct.pack("<II", kind, len(data) if size is None else size) + data + b"\0" * (-len(data) % 8)


def matrix(name: bytes, shape: tuple[int, ...], body: bytes, kind: int = 6) -> bytes:
    """One variable: flags, dimensions, name, then its body."""
    flags = element(6, struct.pack("<II", kind, 0))
    return element(14, flags + element(5, struct.pack(f"<{len(shape)}i", *shape)) + element(1, name) + body)


def saved(value: object, name: str = "d_skel", **how: object) -> bytes:
    stream = io.BytesIO()
    savemat(stream, {name: value}, **how)
    return stream.getvalue()


def compressed(data: bytes) -> bytes:
    packed = zlib.compress(data, 9)
    return struct.pack("<II", 15, len(packed)) + packed


def nested(depth: int) -> bytes:
    """A cell in a cell in a cell …, each named, as no scipy would stand."""
    body = b""
    for _ in range(depth):
        body = matrix(b"d_skel", (1, 1), body, kind=1)
    return body


NUMBERS = element(9, np.ones(20 * 3 * 2).tobytes())
_CASES: dict[str, tuple[str, bytes]] = {
    "bomb of 64 MB": (
        "is larger than",
        HEADER + compressed(matrix(b"d_skel", (20, 3, 139_810), element(9, bytes(64 << 20)))),
    ),
    "bomb in another variable": (
        "holds no numbers",
        HEADER + compressed(matrix(b"other", (1, 1), element(9, bytes(64 << 20)))),
    ),
    "shape larger than its numbers": ("not a readable", HEADER + matrix(b"d_skel", (20, 3, 10**9), NUMBERS)),
    "shape below zero": ("", HEADER + matrix(b"d_skel", (20, 3, -2), NUMBERS)),
    "dimensions without end": ("not a readable", HEADER + matrix(b"d_skel", (1,) * 200, NUMBERS)),
    "element larger than the file": ("cut short", HEADER + struct.pack("<II", 14, 0xFFFFFFF0) + bytes(64)),
    "numbers of 4 GB": (
        "cut short",
        HEADER + matrix(b"d_skel", (20, 3, 2), element(9, b"", 0xFFFFFFF8)),
    ),
    "cells": ("holds no numbers", saved(np.array([[1, "a"]], dtype=object))),
    "cells in cells": ("holds no numbers", HEADER + nested(3000)),
    "text": ("holds no numbers", saved("hello")),
    "structure": ("holds no numbers", saved({"a": 1})),
    "object": ("holds no numbers", HEADER + matrix(b"d_skel", (1, 1), NUMBERS, kind=3)),
    "function": ("holds no numbers", HEADER + matrix(b"d_skel", (1, 1), NUMBERS, kind=16)),
    "complex numbers": ("holds no numbers", saved(np.ones((20, 3, 2)) * 1j)),
    "version 7.3": ("not a readable", b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400)),
    "version 4 of a trillion numbers": (
        "not a readable",
        struct.pack("<5i", 0, 2**30, 2**30, 0, 7) + b"d_skel\0" + bytes(99),
    ),
    "damaged compression": (
        "not a readable",
        HEADER + struct.pack("<II", 15, 40) + b"\x78\xda" + b"\xff" * 38,
    ),
    "cut": ("not a readable", saved(np.ones((20, 3, 9)))[:300]),
    "empty": ("holds no numbers", b""),
    "numbers that are none": ("not a finite number", saved(np.full((20, 3, 2), np.nan))),
}
CASES = [
    *(
        Case("mat", name, "mat", message, write("a_skeleton.mat", data))
        for name, (message, data) in _CASES.items()
    ),
    Case(
        "mat",
        "depth of another shape",
        "depth-mat",
        "expected (240, 320",
        write("a_depth.mat", saved(np.zeros((3, 3)), "d_depth")),
    ),
]
