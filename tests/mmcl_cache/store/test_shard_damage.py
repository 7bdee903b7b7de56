"""A shard is whole or it is not there; altered, cut or hostile files are found before anything of them is used."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmcl_cache.store import Cache, CacheError, DamagedCacheError, verify
from mmcl_cache.store.files import file_sha256, remove_temporaries
from tests.mmcl_cache.store.conftest import make_row

MakeCache = Callable[..., Cache]


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["os.fsync", "os.replace", "mmcl_cache.store.shard.write_marker"])
def test_crash_before_the_marker_leaves_no_shard(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    field = make_cache(filled=False).field("skeleton")
    rows = [make_row(i) for i in field.shard_ids(0).tolist()]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(step, _stop)
        field.write_shard(0, rows)
    assert 0 in field.pending()
    assert not list(field.folder.glob(".tmp-*"))
    field.write_shard(0, rows)
    assert 0 not in field.pending() and field.read_shard(0).valid.any()


def test_files_of_a_dead_process_are_removed_and_those_of_a_living_one_kept(make_cache: MakeCache) -> None:
    folder = make_cache(filled=False).field("skeleton").folder
    host = os.uname().nodename
    dead, living, elsewhere = (
        folder / f".tmp-{name}-00000.h5" for name in (f"{host}-999999999", f"{host}-1", "other-7")
    )
    for path in (dead, living, elsewhere):
        path.write_text("half")
    assert remove_temporaries(folder) == 1
    assert not dead.exists() and living.exists() and elsewhere.exists()


def test_every_flipped_byte_is_found(make_cache: MakeCache) -> None:
    cache = make_cache()
    field = cache.field("skeleton")
    path = field.folder / "00002.h5"
    whole = path.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(whole), 25).tolist():
        broken = bytearray(whole)
        broken[at] ^= 0x10
        path.write_bytes(broken)
        with pytest.raises(DamagedCacheError, match="00002"):
            field.load(["S011"])
    path.write_bytes(whole)
    assert verify(cache) == []


def test_verify_names_each_damaged_shard_once(make_cache: MakeCache) -> None:
    cache = make_cache()
    folder = cache.field("skeleton").folder
    (folder / "00000.h5").unlink()
    os.truncate(folder / "00001.h5", 1000)
    (folder / "00003.json").write_text("{}")
    problems = verify(cache)
    assert [p.split(":")[0][-8:] for p in problems] == ["00000.h5", "00001.h5", "003.json"]


def test_marker_of_another_fingerprint_is_an_error(make_cache: MakeCache) -> None:
    field = make_cache().field("skeleton")
    path = field.folder / "00001.json"
    marker = json.loads(path.read_text())
    path.write_text(json.dumps({**marker, "fingerprint": "0" * 64}))
    with pytest.raises(DamagedCacheError, match="other settings"):
        field.pending()


def _rewrite(path: Path, change: Callable[[h5py.File], None]) -> None:
    """Change a shard's file and make its marker agree, as a hostile author would."""
    with h5py.File(path, "r+") as file:
        change(file)
    marker = path.with_suffix(".json")
    value = json.loads(marker.read_text())
    value |= {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    marker.write_text(json.dumps(value))


def _external_link(file: h5py.File) -> None:
    del file["frames"]
    file["frames"] = h5py.ExternalLink("/etc/hostname", "/x")


def _soft_link(file: h5py.File) -> None:
    del file["frames"]
    file["frames"] = h5py.SoftLink("/status")


def _external_storage(file: h5py.File) -> None:
    del file["frames"]
    file.create_dataset("frames", (5,), "int32", external=[("/etc/passwd", 0, 20)])


def _virtual(file: h5py.File) -> None:
    del file["frames"]
    layout = h5py.VirtualLayout((5,), "int32")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (5,))
    file.create_virtual_dataset("frames", layout)


def _object_type(file: h5py.File) -> None:
    del file["answer"]
    file.create_dataset("answer", data=["a", "b"], dtype=h5py.string_dtype())


def _shape_bomb(file: h5py.File) -> None:
    del file["joints"]
    file.create_dataset("joints", (1 << 40, 25, 3), "float32", chunks=(1024, 25, 3))


def _compressed_bomb(file: h5py.File) -> None:
    del file["joints"]
    file.create_dataset("joints", data=np.zeros((100_000, 25, 3), np.float32), compression="gzip")


def _unwritten_bomb(file: h5py.File) -> None:
    del file["joints"]
    file.create_dataset("joints", (1 << 30, 25, 3), "float32")


def _wrong_dtype(file: h5py.File) -> None:
    frames = file["frames"][:]
    del file["frames"]
    file["frames"] = frames.astype("float64")


def _falling_offsets(file: h5py.File) -> None:
    file["joints.offsets"][1] = -4


def _too_far_offsets(file: h5py.File) -> None:
    file["joints.offsets"][-1] = 1 << 40


def _other_ids(file: h5py.File) -> None:
    file["sample_id"][0] = b"S999"


def _unknown_status(file: h5py.File) -> None:
    file["status"][0] = b"fine"


def _group(file: h5py.File) -> None:
    del file["frames"]
    file.create_group("frames")


HOSTILE = [
    _external_link,
    _soft_link,
    _external_storage,
    _virtual,
    _object_type,
    _shape_bomb,
    _compressed_bomb,
    _unwritten_bomb,
    _wrong_dtype,
    _falling_offsets,
    _too_far_offsets,
    _other_ids,
    _unknown_status,
    _group,
]


@pytest.mark.parametrize("change", HOSTILE, ids=lambda f: f.__name__.strip("_"))
def test_hostile_shard_is_refused_even_with_a_fitting_marker(
    make_cache: MakeCache, change: Callable[[h5py.File], None]
) -> None:
    field = make_cache().field("skeleton")
    _rewrite(field.folder / "00001.h5", change)
    with pytest.raises(CacheError, match="00001"):
        field.read_shard(1)
