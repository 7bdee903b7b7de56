"""The other files of a cache: cache.json, samples.h5, field.json and markers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mmcl_cache.store import fingerprint, ids_digest
from mmcl_cache.store.files import file_sha256
from tests.hostile.case import Case, Make
from tests.hostile.corpus_hdf5 import copy_cache, refit

FIELD, MARKER = "skeleton/default/field.json", "skeleton/default/00000.json"


def text_of(name: str, change: Callable[[str], str | bytes]) -> Make:
    """A file of the cache with another text."""

    def make(folder: Path, canary: Path) -> Path:
        cache = copy_cache(folder)
        changed = change((cache / name).read_text())
        (cache / name).write_bytes(
            changed.encode("utf-8", "surrogatepass") if isinstance(changed, str) else changed
        )
        return cache

    return make


def value_of(name: str, change: Callable[[dict[str, Any]], object]) -> Make:
    """A JSON file of the cache, changed."""

    def edit(text: str) -> str:
        value = json.loads(text)
        change(value)
        return json.dumps(value)

    return text_of(name, edit)


def field_with(change: Callable[[dict[str, Any]], object]) -> Make:
    """Another field.json, with the fingerprint in every file made to agree."""

    def make(folder: Path, canary: Path) -> Path:
        cache = copy_cache(folder)
        value, marker = (json.loads((cache / name).read_text()) for name in (FIELD, MARKER))
        change(value)
        identity = {
            "format": 1,
            **{key: value.get(key) for key in ("field", "settings", "columns", "made_from")},
        }
        value["fingerprint"] = marker["fingerprint"] = fingerprint(identity)
        for name, each in ((FIELD, value), (MARKER, marker)):
            (cache / name).write_text(json.dumps(each))
        with h5py.File(cache / "skeleton/default/00000.h5", "r+") as file:
            file.attrs["fingerprint"] = np.bytes_(value["fingerprint"])
        refit(cache)
        return cache

    return make


def described(**changes: object) -> Make:
    return value_of("cache.json", lambda value: value["description"].update(changes))


def table_with(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Make:
    """The table of samples with another column, everything else made to agree."""

    def make(folder: Path, canary: Path) -> Path:
        cache = copy_cache(folder)
        table = cache / "samples.h5"
        with h5py.File(table, "r+") as file:
            array = change(file[name][:])
            del file[name]
            file.create_dataset(name, data=array)
            ids = [i.decode("utf-8", "replace") for i in file["sample_id"][:].tolist()]
        value = json.loads((cache / "cache.json").read_text())
        value["samples"] |= {"sha256": file_sha256(table), "digest": ids_digest(ids)}
        (cache / "cache.json").write_text(json.dumps(value))
        return cache

    return make


def id_in_table(first: bytes) -> Make:
    return table_with("sample_id", lambda ids: np.array([first, *ids[1:].tolist()]))


def pipe_for(name: str) -> Make:
    def make(folder: Path, canary: Path) -> Path:
        cache = copy_cache(folder)
        (cache / name).unlink()
        os.mkfifo(cache / name)
        return cache

    return make


def folder_for(name: str) -> Make:
    def make(folder: Path, canary: Path) -> Path:
        cache = copy_cache(folder)
        (cache / name).unlink()
        (cache / name).mkdir()
        return cache

    return make


def _claim(value: dict[str, Any], **changes: object) -> None:
    value.update(changes)


def _column(value: dict[str, Any], **changes: object) -> None:
    value["columns"][3].update(changes)


LONG_CHAIN = {"name": "x", "joints": [str(n) for n in range(5000)], "parents": [0, *range(4999)], "centre": 0}
_TEXTS: dict[str, tuple[str, Callable[[str], str | bytes]]] = {
    "nested without end": ("nested too deep", lambda text: "[" * 50_000 + "]" * 50_000),
    "nested objects": ("nested too deep", lambda text: '{"a":' * 50_000 + "1" + "}" * 50_000),
    "nothing but brackets": ("nothing but brackets", lambda text: "[" + "[]," * 4_000_000 + "[]]"),
    "too large": ("the limit is", lambda text: text + " " * (17 << 20)),
    "number of 5000 digits": ("not readable as JSON", lambda text: text.replace("1", "1" * 5000, 1)),
    "number beyond floats": ("not readable as JSON", lambda text: text.replace("{", '{"x": 1e999999,', 1)),
    "NaN": ("NaN is not a JSON number", lambda text: text.replace("{", '{"x": NaN,', 1)),
    "key twice": (
        "a key is there twice",
        lambda text: text.replace("{", '{"format_version": 1, "format_version": 1,', 1),
    ),
    "half of a letter": ("no Unicode", lambda text: text.replace("{", '{"x": "\\ud800",', 1)),
    "no UTF-8": ("not readable as JSON", lambda text: b"\xff\xfe\x00\xd8" + text.encode()),
    "null characters": ("not readable as JSON", lambda text: text + "\0" * 100),
    "byte order mark": ("", lambda text: "\ufeff" + text),
    "empty": ("not readable as JSON", lambda text: ""),
    "a list": ("not a JSON object", lambda text: "[]"),
}
_DESCRIBED: dict[str, dict[str, object]] = {
    "classes as text": {"classes": "abc"},
    "classes as numbers": {"classes": [1, 2, 3]},
    "a billion bodies": {"num_bodies": 10**9},
    "bodies as text": {"num_bodies": "2"},
    "no channels": {"channels": 0},
    "two_person beyond the classes": {"two_person": [99]},
    "clip as a list": {"clip": [1]},
    "layout of 5000 joints": {"layout": LONG_CHAIN},
    "layout that is a cycle": {"layout": {"name": "x", "joints": ["a", "b"], "parents": [1, 0], "centre": 0}},
    "layout of nothing": {"layout": None},
}

CASES = [
    *(
        Case("cache.json", name, "cache", message, text_of("cache.json", change), "cache.json")
        for name, (message, change) in _TEXTS.items()
    ),
    *(
        Case("cache.json", name, "cache", "not a cache description", described(**changes), "cache.json")
        for name, changes in _DESCRIBED.items()
    ),
    Case("cache.json", "pipe", "cache", "not a regular file", pipe_for("cache.json"), "cache.json"),
    Case("cache.json", "folder", "cache", "not a regular file", folder_for("cache.json"), "cache.json"),
    Case(
        "cache.json",
        "shards of no samples",
        "cache",
        "whole numbers from 1",
        value_of("cache.json", lambda v: _claim(v, shard_size=0)),
        "cache.json",
    ),
    Case(
        "cache.json",
        "a trillion samples",
        "cache",
        "expected",
        value_of("cache.json", lambda v: v["samples"].update(count=10**12)),
        "samples.h5",
    ),
    Case("samples.h5", "pipe", "cache", "not a regular file", pipe_for("samples.h5"), "samples.h5"),
    Case(
        "samples.h5",
        "label beyond the classes",
        "cache",
        "none of the 3 classes",
        table_with("label", lambda a: a + 2**30),
        "samples.h5",
    ),
    Case(
        "samples.h5",
        "label below zero",
        "cache",
        "none of the 3 classes",
        table_with("label", lambda a: a - 9),
        "samples.h5",
    ),
    Case(
        "samples.h5",
        "split that is none",
        "cache",
        "split that is none",
        table_with("split.xsub", lambda a: a + 9),
        "samples.h5",
    ),
    Case(
        "samples.h5",
        "labels as NaN",
        "cache",
        "expected",
        table_with("label", lambda a: a * np.nan),
        "samples.h5",
    ),
    Case(
        "samples.h5", "id with a separator", "cache", "path separator", id_in_table(b"../../S0"), "samples.h5"
    ),
    Case("samples.h5", "id that is a folder", "cache", "path separator", id_in_table(b".."), "samples.h5"),
    Case(
        "samples.h5", "id with a line break", "cache", "control character", id_in_table(b"A\nB"), "samples.h5"
    ),
    Case(
        "samples.h5",
        "id that turns text around",
        "cache",
        "control character",
        id_in_table("A\u202eB".encode()),
        "samples.h5",
    ),
    Case("samples.h5", "id of 201 bytes", "cache", "text expected", id_in_table(b"A" * 201), "samples.h5"),
    Case("samples.h5", "id without a letter", "cache", "1 to 200 bytes", id_in_table(b""), "samples.h5"),
    Case("samples.h5", "id twice", "cache", "is there twice", id_in_table(b"S001"), "samples.h5"),
    Case("samples.h5", "ids out of order", "cache", "not sorted", id_in_table(b"Z"), "samples.h5"),
    Case("samples.h5", "id that is no text", "cache", "no UTF-8", id_in_table(b"\xff\xfe"), "samples.h5"),
    Case(
        "field.json",
        "Python objects",
        "cache",
        "no cache has",
        field_with(lambda v: _column(v, dtype="O")),
        "field.json",
    ),
    Case(
        "field.json",
        "type of a gigabyte",
        "cache",
        "no cache has",
        field_with(lambda v: _column(v, dtype="V1000000000")),
        "field.json",
    ),
    Case(
        "field.json",
        "shape of words",
        "cache",
        "a shape that is none",
        field_with(lambda v: _column(v, shape=["a"])),
        "field.json",
    ),
    Case(
        "field.json",
        "shape beyond memory",
        "cache",
        "more than memory can hold",
        field_with(lambda v: _column(v, shape=[2**30, 2**30])),
        "default",
    ),
    Case(
        "field.json",
        "settings as a list",
        "cache",
        "must be objects",
        field_with(lambda v: _claim(v, settings=[])),
        "field.json",
    ),
    Case(
        "field.json",
        "settings nested without end",
        "cache",
        "nested too deep",
        text_of(
            FIELD,
            lambda t: t.replace('"settings": {', '"settings": {"x": ' + "[" * 9000 + "]" * 9000 + ",", 1),
        ),
        "field.json",
    ),
    Case(
        "field.json",
        "no columns",
        "cache",
        "not a field description",
        field_with(lambda v: v.pop("info")),
        "field.json",
    ),
    Case("marker", "pipe", "cache", "not a regular file", pipe_for(MARKER), "00000.json"),
    Case(
        "marker",
        "pipe for its shard",
        "cache",
        "not a regular file",
        pipe_for("skeleton/default/00000.h5"),
        "00000.h5",
    ),
    Case(
        "marker",
        "nested without end",
        "cache",
        "nested too deep",
        text_of(MARKER, lambda t: "[" * 90_000),
        "00000.json",
    ),
    Case(
        "marker",
        "rows as truth",
        "cache",
        "no usable 'rows'",
        value_of(MARKER, lambda v: _claim(v, rows=True)),
        "00000.json",
    ),
    Case(
        "marker",
        "a trillion rows",
        "cache",
        "1000000000000 rows",
        value_of(MARKER, lambda v: _claim(v, rows=10**12)),
        "default",
    ),
    Case(
        "marker",
        "unknown keys",
        "cache",
        "unknown keys",
        value_of(MARKER, lambda v: _claim(v, run="rm")),
        "00000.json",
    ),
    Case(
        "marker",
        "a trillion bytes",
        "cache",
        "its marker says",
        value_of(MARKER, lambda v: _claim(v, bytes=10**12)),
        "00000.h5",
    ),
]
