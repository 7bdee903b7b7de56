"""Shards of a cache whose markers agree, as an author with bad intentions would write them."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import h5py
import numpy as np

from mmcl_cache.store import create_cache
from mmcl_cache.store.files import file_sha256
from tests.hostile.case import Case, Make
from tests.mmcl_cache.store.conftest import COLUMNS, fill, make_description, make_table

Change = Callable[[h5py.File, Path], None]


@cache
def template() -> Path:
    """A sound cache: 5 samples in one shard of the field skeleton."""
    path = Path(tempfile.mkdtemp(prefix="hostile-")) / "cache"
    made = create_cache(path, make_description(), make_table(5), 5)
    fill(made.add_field("skeleton", "default", {"quality": 95}, COLUMNS))
    return path


def copy_cache(folder: Path) -> Path:
    return Path(shutil.copytree(template(), folder / "cache"))


def refit(cache: Path) -> None:
    """Make the shard's marker agree with what the shard has become."""
    shard, marker = cache / "skeleton/default/00000.h5", cache / "skeleton/default/00000.json"
    value = json.loads(marker.read_text())
    value |= {"bytes": shard.stat().st_size, "sha256": file_sha256(shard)}
    marker.write_text(json.dumps(value))


def shard_with(change: Change) -> Make:
    def make(folder: Path, canary: Path) -> Path:
        cache = copy_cache(folder)
        with h5py.File(cache / "skeleton/default/00000.h5", "r+") as file:
            change(file, canary)
        refit(cache)
        return cache

    return make


def shard_bytes(change: Callable[[bytes], bytes]) -> Make:
    def make(folder: Path, canary: Path) -> Path:
        cache = copy_cache(folder)
        path = cache / "skeleton/default/00000.h5"
        path.write_bytes(change(path.read_bytes()))
        refit(cache)
        return cache

    return make


def instead(name: str, **how: object) -> Change:
    """Another array in place of the one of this name."""

    def change(file: h5py.File, canary: Path) -> None:
        del file[name]
        file.create_dataset(name, **how)

    return change


def _external_link(file: h5py.File, canary: Path) -> None:
    del file["frames"]
    file["frames"] = h5py.ExternalLink(str(canary), "/x")


def _soft_link(file: h5py.File, canary: Path) -> None:
    del file["frames"]
    file["frames"] = h5py.SoftLink("/status")


def _external_storage(file: h5py.File, canary: Path) -> None:
    del file["frames"]
    file.create_dataset("frames", (5,), "int32", external=[(str(canary), 0, 20)])


def _virtual(file: h5py.File, canary: Path) -> None:
    del file["frames"]
    layout = h5py.VirtualLayout((5,), "int32")
    layout[:] = h5py.VirtualSource(str(canary), "x", (5,))
    file.create_virtual_dataset("frames", layout)


def _deep_groups(file: h5py.File, canary: Path) -> None:
    at = file
    for _ in range(400):
        at = at.create_group("g")


def _cycle(file: h5py.File, canary: Path) -> None:
    file["loop"] = file["/"]


def _many_arrays(file: h5py.File, canary: Path) -> None:
    for n in range(1200):
        file.create_group(f"g{n}")


def _huge_attribute(file: h5py.File, canary: Path) -> None:
    del file.attrs["fingerprint"]
    file.attrs["fingerprint"] = np.zeros(8000, "uint8")


def _other_fingerprint(file: h5py.File, canary: Path) -> None:
    file.attrs["fingerprint"] = np.bytes_("0" * 64)


def _wide_offsets(file: h5py.File, canary: Path) -> None:
    file["joints.offsets"][-1] = 1 << 60


def _falling_offsets(file: h5py.File, canary: Path) -> None:
    file["joints.offsets"][1] = -(1 << 62)


def _other_id(file: h5py.File, canary: Path) -> None:
    file["sample_id"][0] = b"S999"


def _twice_id(file: h5py.File, canary: Path) -> None:
    file["sample_id"][1] = file["sample_id"][0]


def _id_no_text(file: h5py.File, canary: Path) -> None:
    file["sample_id"][0] = b"\xff\xfe\xfd"


def _status(file: h5py.File, canary: Path) -> None:
    file["status"][0] = b"fine"


def _group(file: h5py.File, canary: Path) -> None:
    del file["frames"]
    file.create_group("frames")


def _missing(file: h5py.File, canary: Path) -> None:
    del file["frames"]


def _extra(file: h5py.File, canary: Path) -> None:
    file["unasked"] = np.zeros(3)


def _reference(file: h5py.File, canary: Path) -> None:
    del file["frames"]
    file.create_dataset("frames", (5,), h5py.ref_dtype)


def _datatype(file: h5py.File, canary: Path) -> None:
    file["kind"] = np.dtype("int32")


def _endless_heap(data: bytes) -> bytes:
    """A shard whose fingerprint is text in a heap, the heap's first object of size 0: found by fuzzing."""
    memory = io.BytesIO(data)
    with h5py.File(memory, "r+") as file:
        del file.attrs["fingerprint"]
        file.attrs["fingerprint"] = "0" * 64
    changed = bytearray(memory.getvalue())
    heap = changed.index(b"GCOL")
    changed[heap + 16 : heap + 40] = bytes(24)
    return bytes(changed)


def _user_block(data: bytes) -> bytes:
    return b"#!/bin/sh\n".ljust(512, b"\0") + data


_RECORD = np.dtype([("a", "i4"), ("b", "f4")])
_CHANGES: dict[str, tuple[str, Change]] = {
    "external link": ("never followed", _external_link),
    "soft link": ("never followed", _soft_link),
    "external storage": ("stored outside this file", _external_storage),
    "virtual data set": ("stored outside this file", _virtual),
    "texts of any length": (
        "which a cache never holds",
        instead("answer", data=["a"], dtype=h5py.string_dtype()),
    ),
    "references": ("which a cache never holds", _reference),
    "compound type": ("which a cache never holds", instead("frames", data=np.zeros(5, _RECORD))),
    "lists of any length": (
        "which a cache never holds",
        instead("frames", shape=(5,), dtype=h5py.vlen_dtype("i4")),
    ),
    "opaque type": ("which a cache never holds", instead("frames", data=np.zeros(5, "V4"))),
    "complex numbers": ("which a cache never holds", instead("frames", data=np.zeros(5, "c16"))),
    "chunks of a shape bomb": (
        "not stored as one plain block",
        instead("joints", shape=(1 << 40, 25, 3), dtype="f4", chunks=(1024, 25, 3)),
    ),
    "compressed bomb": (
        "not stored as one plain block",
        instead(
            "joints", data=np.zeros((100_000, 25, 3), np.float32), compression="gzip", chunks=(100_000, 25, 3)
        ),
    ),
    "shape bomb that was never written": (
        "more than are stored",
        instead("joints", shape=(1 << 30, 25, 3), dtype="f4"),
    ),
    "shape with no bytes": ("expected", instead("frames", shape=(1 << 60, 0), dtype="f4")),
    "another type": ("expected", instead("frames", data=np.zeros(5, "f8"))),
    "another shape": ("expected", instead("frames", data=np.zeros((5, 2), "i4"))),
    "ids as wide as memory": (
        "not those of the shard plan",
        instead("sample_id", data=np.zeros(5, "S100000")),
    ),
    "falling offsets": ("do not fit", _falling_offsets),
    "offsets beyond the data": ("do not fit", _wide_offsets),
    "other id": ("not those of the shard plan", _other_id),
    "id twice": ("not those of the shard plan", _twice_id),
    "id that is no text": ("is no text", _id_no_text),
    "unknown status": ("unknown status", _status),
    "group for an array": ("is not an array", _group),
    "type for an array": ("is not an array", _datatype),
    "missing column": ("no array 'frames'", _missing),
    "groups in groups": ("is not an array", _deep_groups),
    "cycle of links": ("is not an array", _cycle),
    "more arrays than a cache has": ("no cache has so many", _many_arrays),
    "another fingerprint": ("made with other settings", _other_fingerprint),
    "attribute of another shape": ("not what a cache has", _huge_attribute),
}

CASES = [
    *(
        Case("hdf5", name, "cache", message, shard_with(change), "00000.h5")
        for name, (message, change) in _CHANGES.items()
    ),
    Case("hdf5", "column that nobody asked for", "cache", "", shard_with(_extra)),
    Case("hdf5", "heap without end", "cache", "", shard_bytes(_endless_heap)),
    Case("hdf5", "user block", "cache", "not HDF5", shard_bytes(_user_block), "00000.h5"),
    Case("hdf5", "cut", "cache", "not readable as HDF5", shard_bytes(lambda d: d[:-200]), "00000.h5"),
    Case("hdf5", "empty", "cache", "not readable as HDF5", shard_bytes(lambda d: b""), "00000.h5"),
    Case("hdf5", "text", "cache", "not readable as HDF5", shard_bytes(lambda d: b"hello " * 99), "00000.h5"),
    Case("hdf5", "superblock alone", "cache", "HDF5", shard_bytes(lambda d: d[:48] + bytes(400)), "00000.h5"),
]
