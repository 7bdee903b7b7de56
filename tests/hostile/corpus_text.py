"""`.skeleton` text and CSV tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.hostile.case import Case, write

JOINT = b"0.1 0.2 3.0 100 100 900 500 0 0 0 1 2"


def body(ident: bytes = b"7", joint: bytes = JOINT, joints: bytes = b"25", lines: int = 25) -> bytes:
    return b"\n".join([ident + b" 0 0 0 0 0 0 0 0 2", joints, *[joint] * lines]) + b"\n"


def frames(*bodies: bytes) -> bytes:
    return b"%d\n" % len(bodies) + b"".join(b"1\n" + each for each in bodies)


def _large(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def _scattered() -> bytes:
    """100 people in the first frames, nobody in half a million more: 50 million places."""
    return b"500100\n" + b"".join(b"1\n" + body(b"%d" % n) for n in range(100)) + b"0\n" * 500_000


_SKELETON: dict[str, tuple[str, bytes]] = {
    "a billion frames": ("cut short", b"999999999\n1\n" + body()),
    "more frames than numbers": ("the number of frames", b"9" * 5000 + b"\n1\n" + body()),
    "frames below zero": ("the number of frames", b"-1\n1\n" + body()),
    "a billion bodies": ("cut short", b"1\n999999999\n" + body()),
    "a billion joints": ("the joint count 25", frames(body(joints=b"1000000000"))),
    "joint that is no number": ("not a finite number", frames(body(joint=JOINT.replace(b"0.1", b"nan")))),
    "joint without end": ("lies beyond", frames(body(joint=JOINT.replace(b"0.1", b"9" * 300)))),
    "joint of 5000 digits": (
        "is not a finite number",
        frames(body(joint=JOINT.replace(b"0.1", b"9" * 5000))),
    ),
    "words for numbers": ("is not a number", frames(body(joint=JOINT.replace(b"0.1", b"$(reboot)")))),
    "null characters": ("is not a number", frames(body(joint=JOINT.replace(b"0.1", b"0\x001")))),
    "body twice": ("is there twice", b"1\n2\n" + body() + body()),
    "thousands of bodies": (
        "different bodies",
        b"1\n3000\n" + b"".join(body(b"%d" % n) for n in range(3000)),
    ),
    "frames and bodies without end": ("different bodies", _scattered()),
    "30 MB of short words": ("no clip has so many", b"1 " * 15_000_000),
    "20 MB of empty lines": ("no clip has so many", b"1\n" + b"\n" * 20_000_000),
    "a line of 8 MB": ("the number of frames", b"123456789 " * 800_000),
    "cut": ("cut short", frames(body(), body())[:-200]),
    "more than it says": ("are left after", frames(body()) + body()),
    "UTF-16": ("the number of frames", frames(body()).decode().encode("utf-16")),
    "empty": ("empty", b""),
    "frames of nobody": ("no body in any", b"2\n0\n0\n"),
}
_HEAD = b"sample_id,video,skeleton,label\n"
_TABLE: dict[str, tuple[str, bytes]] = {
    "null characters": ("control character", _HEAD + b"a,\0.mp4,,x\n"),
    "orders to a terminal": ("control character", _HEAD + b"\x1b]0;x\x07,a.mp4,,x\n"),
    "no text": ("not a CSV in UTF-8", _HEAD + b"\xff\xfe\xfd,a.mp4,,x\n"),
    "UTF-16": ("not a CSV in UTF-8", (_HEAD + b"a,b.mp4,,x\n").decode().encode("utf-16")),
    "quotation that never ends": ("not a CSV", _HEAD + b'a,"' + b"x" * 200_000),
    "cell of 300 kB": ("not a CSV", _HEAD + b"a," + b"x" * 300_000 + b",,y\n"),
    "5 MB of empty lines": ("no rows below the header", _HEAD + b"\n" * 5_000_000),
    "path that leads out": ("lies outside", _HEAD + b"a,../../../etc/passwd,,x\n"),
    "path from the root": ("lies outside", _HEAD + b"a,/etc/passwd,,x\n"),
    "id twice": ("is on line 2 already", _HEAD + b"a,b.mp4,,x\na,c.mp4,,x\n"),
    "column twice": ("is there twice", b"sample_id,label,video,video\na,x,b.mp4,\n"),
    "no columns": ("missing column", b"\n"),
    "empty": ("missing column", b""),
    "cells missing": ("3 cells", _HEAD + b"a,b.mp4,x\n"),
    "split that is none": ("known: train, test", b"sample_id,video,label,split\na,b.mp4,x,evil\n"),
}


def _oversized(name: str, size: int) -> Callable[[Path, Path], Path]:
    return lambda folder, canary: _large(folder / name, size)


CASES = [
    *(
        Case("skeleton", name, "skeleton", message, write("a.skeleton", data))
        for name, (message, data) in _SKELETON.items()
    ),
    Case("skeleton", "100 MB", "skeleton", "the limit is", _oversized("a.skeleton", 100 << 20)),
    Case("skeleton", "a terabyte", "skeleton", "the limit is", _oversized("a.skeleton", 1 << 40)),
    *(
        Case("csv", name, "table", message, write("samples.csv", data))
        for name, (message, data) in _TABLE.items()
    ),
    Case("csv", "a gigabyte", "table", "the limit is", _oversized("samples.csv", 1 << 30)),
]
