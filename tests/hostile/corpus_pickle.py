"""Pickles: pyskl's annotations and score files."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np

from tests.hostile.case import Case, Make, write

PROTOCOL, STOP = b"\x80\x04", b"."


class Runs:
    """Runs a command where it is loaded the usual way."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self._command,)


def annotated(**changes: object) -> dict[str, object]:
    """What a pyskl file holds, one clip of it."""
    one = {"frame_dir": "clip", "label": 0, "keypoint": np.ones((1, 4, 17, 2), np.float32), **changes}
    return {"split": {"train": ["clip"]}, "annotations": [one]}


def dumped(value: object, protocol: int = 4) -> bytes:
    return pickle.dumps(value, protocol=protocol)


def runs(name: str) -> Make:
    return write(name, lambda canary: dumped(annotated(run=Runs(f"echo done >> {canary}"))))


def _int_keys() -> bytes:
    """Numbers that Python's hash makes all alike: n · (2^61 − 1)."""
    keys = b"".join(
        pickle.LONG1 + bytes([12]) + (n * ((1 << 61) - 1)).to_bytes(12, "little") + b"N"
        for n in range(1, 50_000)
    )
    return PROTOCOL + b"}(" + keys + b"u."


def _laughs() -> bytes:
    """A tuple of two of a tuple of two …: 2^60 elements in a hundred bytes."""
    return PROTOCOL + b")" + b"2\x86" * 60


def _array(shape: bytes, code: bytes = b"f4", data: bytes = b"\0\0\x80?") -> bytes:
    """numpy's own pickle of an array, by hand."""
    kind = (
        b"cnumpy\ndtype\n\x8c"
        + bytes([len(code)])
        + code
        + b"\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    body = b"(K\x01" + shape + kind + b"\x89C" + bytes([len(data)]) + data + b"tb"
    return b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R" + body


_BOTH: dict[str, tuple[str, bytes]] = {
    "eval by its name": ("refused", b"cbuiltins\neval\n(V1+1\ntR."),
    "import of a module": ("refused", PROTOCOL + b"\x8c\x02os\x8c\x06system\x93)R."),
    "old instance": ("refused", b"(ios\nsystem\n."),
    "extension code": ("not a readable pickle", PROTOCOL + b"\x82\x01."),
    "persistent id": ("refused", b"Pid\n."),
    "set": ("it holds a set", dumped({1, 2, 3})),
    "another object": ("refused", dumped(Path("x"))),
    "memo number of 4 billion": ("refused", PROTOCOL + b"Nr\xff\xff\xff\xff0j\xfe\xff\xff\xff."),
    "bytes that claim an exabyte": ("cut short", PROTOCOL + b"\x8e" + struct.pack("<Q", 1 << 60) + b"x."),
    "bytearray that claims an exabyte": ("cut short", b"\x80\x05\x96" + struct.pack("<Q", 1 << 60) + b"x."),
    "number of 2 gigabytes": ("cut short", PROTOCOL + b"\x8b" + struct.pack("<i", (1 << 31) - 1) + b"x."),
    "frame that claims an exabyte": ("cut short", PROTOCOL + b"\x95" + struct.pack("<Q", 1 << 60) + b"N."),
    "number of 5000 digits": ("not a readable pickle", b"I" + b"9" * 5000 + b"\n."),
    "lists in lists": ("containers more than", PROTOCOL + b"]" * 100_000 + b"a" * 99_999 + STOP),
    "millions of marks": ("more small pieces", PROTOCOL + b"(" * 12_000_000),
    "millions of lists": ("more small pieces", PROTOCOL + b"(" + b"]" * 12_000_000),
    "keys with one hash": ("keys are neither", _int_keys()),
    "key with endless content": ("keys are neither", PROTOCOL + b"}" + _laughs()[2:] + b"Ns."),
    "array of Python objects": ("only numbers and text", PROTOCOL + _array(b"K\x01\x85", b"O8") + STOP),
    "array of negative length": ("a shape that is none", PROTOCOL + _array(b"J\xff\xff\xff\xff\x85") + STOP),
    "array larger than its bytes": (
        "other bytes than its shape",
        PROTOCOL + _array(b"J\xff\xff\xff\x7f\x85") + STOP,
    ),
    "type with fields": ("array type with fields", dumped(np.zeros(2, [("a", "f4")]))),
    "cut short": ("not a readable pickle", dumped(annotated())[:-40]),
    "empty": ("not a readable pickle", b""),
}


def _shared_arrays() -> bytes:
    """300 arrays that share one megabyte: 300 MB where each is used."""
    data = b"B" + struct.pack("<I", 1 << 20) + bytes(1 << 20) + b"\x94"
    first = PROTOCOL + b"]" + data + b"0("
    kind = (
        b"cnumpy\ndtype\n\x8c\x02f4\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    one = (
        b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01J\x00\x00\x04\x00\x85"
        + kind
        + b"\x89h\x00tb"
    )
    return first + one * 300 + b"e."


CASES = [
    *(
        Case("pickle", f"{name}, as annotations", "pyskl", message, write("a.pkl", data))
        for name, (message, data) in _BOTH.items()
    ),
    *(
        Case("pickle", f"{name}, as scores", "scores", message, write("a.pkl", data))
        for name, (message, data) in _BOTH.items()
    ),
    Case("pickle", "command in annotations", "pyskl", "refused", runs("a.pkl")),
    Case("pickle", "command in scores", "scores", "refused", runs("a.pkl")),
    Case(
        "pickle",
        "arrays that share their bytes",
        "pyskl",
        "together larger than the file",
        write("a.pkl", _shared_arrays()),
    ),
    Case(
        "pickle",
        "scores as endless lists",
        "scores",
        "containers more than",
        write("a.pkl", PROTOCOL + b"}\x8c\x01a" + _laughs()[2:] + b"s."),
    ),
    Case(
        "pickle",
        "label of a thousand bits",
        "pyskl",
        "label a whole number",
        write("a.pkl", dumped(annotated(label=1 << 1000))),
    ),
    Case(
        "pickle",
        "keypoints as text",
        "pyskl",
        "expected numbers",
        write("a.pkl", dumped(annotated(keypoint=np.full((1, 2, 17, 2), "x")))),
    ),
    Case(
        "pickle",
        "keypoints of a million bodies",
        "pyskl",
        "no keypoint is an array",
        write("a.pkl", dumped(annotated(keypoint=np.zeros((10**6, 0, 17, 2), np.float32)))),
    ),
    Case(
        "pickle",
        "score of another shape",
        "pyskl",
        "does not belong",
        write("a.pkl", dumped(annotated(keypoint_score=np.ones(3)))),
    ),
    Case(
        "pickle",
        "id twice",
        "pyskl",
        "is there twice",
        write("a.pkl", dumped({"split": {}, "annotations": annotated()["annotations"] * 2})),
    ),
    Case(
        "pickle",
        "split of numbers",
        "pyskl",
        "must be a list of ids",
        write("a.pkl", dumped({**annotated(), "split": {"train": [10**5000]}})),
    ),
]
