"""`.npy` and `.npz` files: poses, text features, CTR-GCN's clips and score files."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np

from tests.hostile.case import Case, write

JOINTS = 17


def header(text: str, data: bytes = b"", version: int = 1) -> bytes:
    """An .npy file with this header."""
    length = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode() + b"\n" + data


def claim(shape: str, kind: str = "'<f4'", data: bytes = b"\0" * 64) -> bytes:
    return header(f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}", data)


def array(value: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(value), allow_pickle=True)
    return stream.getvalue()


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return stream.getvalue()


def poses(**others: object) -> dict[str, bytes]:
    return {
        "poses.npy": array(np.ones((3, JOINTS, 3), np.float32)),
        **{f"{k}.npy": array(v) for k, v in others.items()},
    }


def _claims_size(data: bytes, size: int) -> bytes:
    """The sizes in the directory of an archive of one member, changed."""
    at = data.rindex(b"PK\x01\x02")
    return data[: at + 24] + struct.pack("<I", size) + data[at + 28 :]


def _encrypted(data: bytes) -> bytes:
    at = data.rindex(b"PK\x01\x02")
    return data[: at + 8] + b"\x01\x00" + data[at + 10 :]


def _long_directory() -> bytes:
    entry = archive({"a": b""})
    at = entry.rindex(b"PK\x01\x02")
    one = entry[at : entry.rindex(b"PK\x05\x06")]
    listed = one * 40_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 40_000, 40_000, len(listed), at, 0)
    return entry[:at] + listed + end


def _overlapping() -> bytes:
    """Many members that are all the same bytes of the file."""
    entry = archive({"poses.npy": array(np.zeros((200, JOINTS, 3)))})
    at = entry.rindex(b"PK\x01\x02")
    one = entry[at : entry.rindex(b"PK\x05\x06")]
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 50, 50, 50 * len(one), at, 0)
    return entry[:at] + one * 50 + end


def _bomb(name: str, megabytes: int, start: bytes = b"") -> bytes:
    return archive({name: start + bytes(megabytes << 20)}, zipfile.ZIP_DEFLATED)


def _ctrgcn(**changes: bytes) -> bytes:
    rows = {
        f"{letter}_{split}": array(np.zeros((2, *shape), np.float32))
        for letter, shape in (("x", (300, 150)), ("y", (60,)))
        for split in ("train", "test")
    }
    return archive({f"{name}.npy": data for name, data in {**rows, **changes}.items()}, zipfile.ZIP_DEFLATED)


def _scores(**changes: object) -> bytes:
    plain = {
        "sample_ids": np.array(["a", "b"]),
        "logits": np.zeros((2, 3), np.float32),
        "labels": np.array([0, 1]),
    }
    return archive({f"{name}.npy": array(value) for name, value in {**plain, **changes}.items()})


def _scores_bomb() -> bytes:
    ids = {"sample_ids.npy": array(np.array(["a"]))}
    return archive({**ids, "logits.npy": claim("(1, 3)", data=bytes(64 << 20))}, zipfile.ZIP_DEFLATED)


_NPY: dict[str, tuple[str, bytes]] = {
    "Python objects": ("Python objects", array(np.array([Path], dtype=object))),
    "pickle under the name of an array": ("not a readable", pickle.dumps([1])),
    "a trillion rows": ("more than any clip", claim("(1000000000000, 17, 3)")),
    "more than numbers can say": ("not a readable", claim(f"({'9' * 3000},)")),
    "length below zero": ("below zero", claim("(-1,)")),
    "two lengths below zero": ("below zero", claim("(-4, -17, 3)")),
    "values without bytes": ("without bytes", claim("(1000000000,)", "'<U0'")),
    "records": ("not a readable", claim("(2,)", "[('a', '<f4'), ('b', 'O')]")),
    "type of a gigabyte": ("not a readable", claim("(1,)", "'(1000000000,)f8'")),
    "header that is a program": ("not a readable", header("__import__('os').system('true')")),
    "header of brackets": ("not a readable", header("(" * 9000 + ")" * 900)),
    "header of signs": ("not a readable", header("-" * 9000 + "1")),
    "header of 4 gigabytes": ("not a readable", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}"),
    "another version": ("unknown version", b"\x93NUMPY\x09\x00\x10\x00"),
    "cut": ("cut short", array(np.ones((9, JOINTS, 3)))[:-9]),
    "empty": ("not a readable", b""),
    "text": ("numbers", array(np.full((3, JOINTS, 3), "x"))),
}
_NPZ: dict[str, tuple[str, bytes]] = {
    "pickled member": ("Python objects", archive({"poses.npy": array(np.array([Path], dtype=object))})),
    "bomb of 64 MB": (
        "far more than the file can hold",
        _bomb("poses.npy", 64, claim("(1000, 17, 3)", data=b"")),
    ),
    "member that claims 4 GB": ("not a readable", _claims_size(archive(poses()), 0xFFFFFFF0)),
    "compressed with bzip2": ("never does", archive(poses(), zipfile.ZIP_BZIP2)),
    "compressed with lzma": ("never does", archive(poses(), zipfile.ZIP_LZMA)),
    "encrypted": ("not a readable", _encrypted(archive(poses()))),
    "list of members that fills memory": ("far too long", _long_directory()),
    "members that are the same bytes": ("together larger than the file", _overlapping()),
    "rate of nothing": ("fps is not one number", archive(poses(fps=np.zeros(0)))),
    "rate that is no number": ("fps is not one number", archive(poses(fps=np.nan))),
    "joints that are no number": (
        "not a finite number",
        archive({"poses.npy": array(np.full((3, JOINTS, 3), [1.0, np.nan, 1.0]))}),
    ),
    "nothing in it": ("has no array", archive({})),
    "cut": ("not a readable", archive(poses())[:-30]),
    "name that leads out, and back": ("has no array", archive({"../../evil.npy": b"", "/etc/evil.npy": b""})),
}


def _of(kind: str, cases: dict[str, tuple[str, bytes]], name: str, reader: str) -> list[Case]:
    return [Case(kind, each, reader, message, write(name, data)) for each, (message, data) in cases.items()]


def traversal(folder: Path, canary: Path) -> Path:
    path = folder / "a.npz"
    path.write_bytes(archive({f"{canary}.npy": array(np.ones((3, JOINTS, 3)))}))
    return path


CASES = [
    *_of("npy", _NPY, "a.npy", "poses"),
    *_of("npz", _NPZ, "a.npz", "poses"),
    Case("npz", "member named after a file elsewhere", "poses", "", traversal),
    Case(
        "text feature",
        "half a million tokens",
        "text",
        "more than any clip",
        write("a.npy", array(np.ones(500_000, np.int64))),
    ),
    Case(
        "text feature",
        "numbers beyond float32",
        "text",
        "not finite",
        write("a.npy", array(np.array([1e300, 1.5]))),
    ),
    Case(
        "text feature",
        "endless axes",
        "text",
        "expected one row",
        write("a.npy", array(np.zeros((1,) * 30 + (2, 2)))),
    ),
    Case(
        "ctrgcn",
        "labels that are a bomb",
        "ctrgcn",
        "far more than the file can hold",
        write("a.npz", _ctrgcn(y_train=claim("(2, 60)", data=bytes(64 << 20)))),
    ),
    Case("ctrgcn", "labels that are none", "ctrgcn", "one-hot", write("a.npz", _ctrgcn())),
    Case(
        "ctrgcn",
        "numbers that wrap around",
        "ctrgcn",
        "cut short",
        write(
            "a.npz",
            archive(
                {
                    f"{n}.npy": claim(f"({1 << 59}, 300, 150)")
                    for n in ("x_train", "x_test", "y_train", "y_test")
                }
            ),
        ),
    ),
    Case(
        "scores",
        "a trillion rows",
        "scores",
        "not a score file",
        write("a.npz", archive({"sample_ids.npy": claim("(1000000000000,)", "'<U9'"), "logits.npy": b""})),
    ),
    Case(
        "scores",
        "ids as objects",
        "scores",
        "Python objects",
        write("a.npz", _scores(sample_ids=np.array([Path], object))),
    ),
    Case(
        "scores",
        "about nested without end",
        "scores",
        "nested too deep",
        write("a.npz", _scores(about=np.array("[" * 90_000))),
    ),
    Case("scores", "about a list", "scores", "no JSON object", write("a.npz", _scores(about=np.array("[]")))),
    Case(
        "scores",
        "logits as text",
        "scores",
        "logits is",
        write("a.npz", _scores(logits=np.full((2, 3), "1"))),
    ),
    Case(
        "scores", "id twice", "scores", "ids twice", write("a.npz", _scores(sample_ids=np.array(["a", "a"])))
    ),
    Case(
        "scores",
        "label beyond the classes",
        "scores",
        "do not belong",
        write("a.npz", _scores(labels=np.array([0, 2**62]))),
    ),
    Case("scores", "bomb", "scores", "far more than the file can hold", write("a.npz", _scores_bomb())),
    Case("scores", "no zip", "scores", "not a score file", write("a.npz", b"PK\x05\x06" + bytes(9))),
]
