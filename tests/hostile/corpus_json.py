"""JSON skeletons: NW-UCLA's, poses of estimators, frames on standard input, layouts."""

from __future__ import annotations

import json

from tests.hostile.case import Case, write

UCLA = {"file_name": "a01_s01_e00_v01", "skeletons": [[[0.1, 0.2, 3.0]] * 20] * 2, "label": 1}
PERSON = {"image_id": 1, "keypoints": [1.0, 2.0, 0.5] * 17}
_ANY: dict[str, tuple[str, bytes]] = {
    "nested without end": ("nested too deep", b"[" * 100_000),
    "objects without end": ("nested too deep", b'{"a":' * 100_000),
    "nothing but brackets": ("nothing but brackets", b"[" + b"[]," * 4_000_000 + b"[]]"),
    "number of 5000 digits": ("not JSON", b"[" + b"9" * 5000 + b"]"),
    "null characters": ("not JSON", b"\0" * 1000),
    "no text": ("not JSON", b'["\xff\xfe"]'),
    "empty": ("not JSON", b""),
    "cut": ("not JSON", json.dumps(UCLA).encode()[:-20]),
}


def ucla(**changes: object) -> bytes:
    return json.dumps({**UCLA, **changes}).encode()


def people(**changes: object) -> bytes:
    return json.dumps([PERSON, {**PERSON, **changes}]).encode()


_UCLA: dict[str, tuple[str, bytes]] = {
    "numbers beyond floats": ("not a finite number", ucla().replace(b"0.1", b"1e999999")),
    "NaN": ("not a finite number", ucla().replace(b"0.1", b"NaN")),
    "words for numbers": ("not numbers in equal rows", ucla(skeletons=[[["a", "b", "c"]] * 20])),
    "objects for numbers": ("not numbers in equal rows", ucla(skeletons=[[{}]])),
    "ragged rows": ("not numbers in equal rows", ucla(skeletons=[[[1, 2, 3]], [[1]]])),
    "300 digits": ("lies beyond", ucla().replace(b"0.1", b"9" * 300)),
    "400 digits": ("not numbers in equal rows", ucla().replace(b"0.1", b"9" * 400)),
    "name of another file": ("renamed or mixed up", ucla(file_name="../../etc/passwd\n" * 99)),
    "name that is a list": ("renamed or mixed up", ucla(file_name=[[1] * 999])),
    "label of another file": ("mixed up", ucla(label=10**4000)),
    "no keys": ("lacks the keys", b"{}"),
    "no frames": ("no frames", ucla(skeletons=[])),
}
_POSES: dict[str, tuple[str, bytes]] = {
    "every person another track": (
        "too many for one recording",
        json.dumps([{**PERSON, "image_id": n, "idx": n} for n in range(4000)]).encode(),
    ),
    "image of a list": ("", people(image_id=[1, 2])),
    "keypoints of words": ("not poses", people(keypoints=["x"] * 51)),
    "keypoints of objects": ("not poses", people(keypoints={"a": 1})),
    "two keypoints": ("not poses", people(keypoints=[1, 2])),
    "keypoints that are none": ("not a finite number", people(keypoints=[float("nan")] * 51)),
    "track of 4000 digits": ("", people(idx=10**4000)),
    "people as a number": ("not poses", b'{"people": 7}'),
    "people of numbers": ("not poses", b'{"people": [7]}'),
    "poses as a number": ("expected (frames", b'{"poses": 7}'),
    "poses of 60 axes": ("expected (frames", b'{"poses": ' + b"[" * 60 + b"1" + b"]" * 60 + b"}"),
    "nobody": ("nobody in any", b'[{"people": []}, {"people": []}]'),
    "nothing": ("no poses in it", b"[]"),
    "null": ("no poses in it", b"null"),
}
_STDIN: dict[str, tuple[str, bytes]] = {
    "nested without end": ("not a frame", b"[" * 100_000),
    "a line of 2 MB": ("longer than", b"[" + b"1," * 1_000_000 + b"1]\n"),
    "a number": ("joints of shape", b"7\n"),
    "another shape": ("joints of shape", b"[[1, 2, 3]]\n"),
    "words": ("not a frame", b'[["a"]]\n'),
    "no joints": ("not a frame", b"{}\n"),
    "number of 5000 digits": ("not a frame", b"9" * 5000 + b"\n"),
    "no text": ("not text in UTF-8", b"\xff\xfe\n"),
    "nothing": ("no frame came in", b"\n\n\n"),
    "joints that are none": ("not a finite number", json.dumps([[float("nan"), 1, 1]] * 17).encode()),
}
_LAYOUT: dict[str, tuple[str, bytes]] = {
    "nested without end": ("nested too deep", b"[" * 100_000),
    "5000 joints": (
        "the limit is",
        json.dumps(
            {"name": "x", "joints": [str(n) for n in range(5000)], "parents": [0, *range(4999)], "centre": 0}
        ).encode(),
    ),
    "cycle": (
        "must be a joint that hangs on itself",
        b'{"name": "x", "joints": ["a", "b"], "parents": [1, 0], "centre": 0}',
    ),
    "parent that is none": (
        "which is none",
        b'{"name": "x", "joints": ["a", "b"], "parents": [0, 9], "centre": 0}',
    ),
    "dimensions of words": (
        "dimensions",
        b'{"name": "x", "joints": ["a"], "parents": [0], "centre": 0, "dimensions": "three"}',
    ),
    "too large": ("the limit is", b" " * (2 << 20)),
}


def _of(
    kind: str, cases: dict[str, tuple[str, bytes]], name: str, reader: str, names: str = ""
) -> list[Case]:
    return [
        Case(kind, each, reader, message, write(name, data), names) for each, (message, data) in cases.items()
    ]


CASES = [
    *_of("nw-ucla json", {**_ANY, **_UCLA}, "a01_s01_e00_v01.json", "nw-ucla"),
    *_of("pose json", {**_ANY, **_POSES}, "poses.json", "recording"),
    *_of("standard input", _STDIN, "lines.txt", "stdin", "standard input"),
    *_of("layout", _LAYOUT, "layout.json", "layout"),
]
