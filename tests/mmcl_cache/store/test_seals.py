"""What was hashed once is not hashed again, and whatever touches a file makes it be hashed again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmcl_cache.store.seals as seals_module
import mmcl_cache.store.shard as shard_module
from mmcl_cache.store import Cache, DamagedCacheError, open_cache, verify
from tests.mmcl_cache.store.conftest import make_row

MakeCache = Callable[..., Cache]
SHARDS = 5
IDS = [f"S{n:03d}" for n in range(23)]


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where seals are kept, of any size and of files written just now too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    monkeypatch.setattr(seals_module, "KEPT_FROM", 0)
    monkeypatch.setattr(seals_module, "SETTLED_NS", -(1 << 62))
    return tmp_path / "own" / "mmcl" / "seals"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files hashed while reading, in turn."""
    names: list[str] = []
    find = shard_module._find_hashed

    def watch(path: Path, *more: Any) -> Any:
        names.append(path.name)
        return find(path, *more)

    monkeypatch.setattr(shard_module, "_find_hashed", watch)
    return names


def _load(path: Path) -> None:
    """As a process of its own would: a cache opened anew."""
    loaded = open_cache(path).field("skeleton").load(IDS)
    for n, sample_id in enumerate(IDS):
        row = make_row(sample_id)
        assert (loaded.status[n], loaded.reasons[n]) == (row.status, row.reason)
        if row.status == "ok":
            np.testing.assert_array_equal(loaded["joints"][n], row.values["joints"])
            assert loaded["answer"][n] == row.values["answer"]


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_second_process_hashes_nothing_and_reads_the_same(
    make_cache: MakeCache, books: Path, hashed: list[str]
) -> None:
    path = make_cache().path
    _load(path)
    assert len(hashed) == SHARDS and len(list(books.iterdir())) == 1
    _load(path)
    assert len(hashed) == SHARDS


def test_flipped_bit_is_found_in_a_sealed_file_whose_size_and_time_of_content_are_set_back(
    make_cache: MakeCache, books: Path
) -> None:
    path = make_cache().path
    _load(path)
    shard = path / "skeleton" / "default" / "00002.h5"
    before = shard.stat()
    _flip(shard)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert shard.stat().st_mtime_ns == before.st_mtime_ns and shard.stat().st_size == before.st_size
    with pytest.raises(DamagedCacheError, match=r"00002\.h5: altered"):
        _load(path)


def test_touched_file_is_hashed_again_and_the_others_are_not(
    make_cache: MakeCache, books: Path, hashed: list[str]
) -> None:
    path = make_cache().path
    _load(path)
    (path / "skeleton" / "default" / "00003.h5").touch()
    del hashed[:]
    _load(path)
    assert set(hashed) == {"00003.h5"}


def test_copy_of_a_cache_is_hashed_by_itself(make_cache: MakeCache, books: Path, hashed: list[str]) -> None:
    path = make_cache().path
    _load(path)
    copy = Path(shutil.copytree(path, path.with_name("copy")))
    book = next(books.iterdir())
    shutil.copyfile(book, seals_module._book_path(copy / "skeleton" / "default") or book)
    del hashed[:]
    _load(copy)
    assert len(hashed) == SHARDS


def test_file_changed_just_now_is_never_sealed(
    make_cache: MakeCache, books: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals_module, "SETTLED_NS", 10**15)
    field = make_cache().field("skeleton")
    for _ in range(2):
        del hashed[:]
        field.load(IDS, ["frames"])
        assert len(hashed) == SHARDS
    assert not books.exists()


def test_file_changed_while_it_is_read_is_an_error(make_cache: MakeCache, books: Path) -> None:
    field = make_cache().field("skeleton")
    field.load(IDS)
    marker = field.marker(1)
    assert marker is not None
    with (
        pytest.raises(DamagedCacheError, match="changed while it was read"),
        shard_module.open_shard(field.folder, 1, marker, field.seals) as file,
    ):
        (field.folder / "00001.h5").touch()
        file.read("frames", np.dtype("int32"), (5,))


def test_verify_hashes_sealed_files_too_and_seals_what_it_found_whole(
    make_cache: MakeCache, books: Path, hashed: list[str]
) -> None:
    cache = make_cache()
    for _ in range(2):
        del hashed[:]
        assert verify(open_cache(cache.path)) == []
        assert sorted(hashed) == [f"{k:05d}.h5" for k in range(SHARDS)]
    del hashed[:]
    _load(cache.path)
    assert hashed == []


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "[" * 100_000,
        lambda text: "[]",
        lambda text: text.replace('"version": 1', '"version": 0'),
        lambda text: text.replace('"<f4"', '"O"'),
        lambda text: text.replace('"stamp"', '"stand"'),
        lambda text: text.replace('"joints": [\n', '"joints": [\n9'),
        lambda text: text.replace('"joints": [\n', '"joints": [\n-'),
    ],
    ids=["empty", "deep", "list", "version", "objects", "key", "outside", "before"],
)
def test_book_that_cannot_be_used_is_passed_over(
    make_cache: MakeCache, books: Path, hashed: list[str], change: Callable[[str], str]
) -> None:
    path = make_cache().path
    _load(path)
    book = next(books.iterdir())
    changed = change(book.read_text())
    assert changed != book.read_text()
    book.write_text(changed)
    del hashed[:]
    _load(path)
    assert len(hashed) == SHARDS


def test_user_without_a_place_for_seals_can_load(
    make_cache: MakeCache, books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/none")
    _load(make_cache().path)


def test_small_cache_leaves_no_book(
    make_cache: MakeCache, books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals_module, "KEPT_FROM", 32 << 20)
    _load(make_cache().path)
    assert not books.exists()


@pytest.mark.parametrize("size", [23, 5, 2, 1])
def test_a_load_opens_and_hashes_a_shard_as_often_however_many_there_are(
    make_cache: MakeCache, books: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = make_cache(shard_size=size).path
    opened: list[str] = []
    open_file = shard_module._open_file

    def watch(path: Path) -> Any:
        opened.append(path.name)
        return open_file(path)

    monkeypatch.setattr(shard_module, "_open_file", watch)
    shards = -(-23 // size)
    _load(path)  # lengths, then values
    assert (len(opened), len(hashed)) == (2 * shards, shards)
    open_cache(path).field("skeleton").load(IDS, ["frames", "feature"])  # of fixed width: values alone
    assert (len(opened), len(hashed)) == (3 * shards, shards)


def test_spare_elements_are_zeros_beyond_the_rows(make_cache: MakeCache) -> None:
    loaded = make_cache().field("skeleton").load(IDS, ["joints", "frames"], spare=2)
    joints = loaded["joints"]
    assert len(joints.flat) == joints.offsets[-1] + 2 and not joints.flat[-2:].any()
    np.testing.assert_array_equal(joints[1], make_row("S001").values["joints"])


def test_shard_that_is_a_pipe_is_refused_without_waiting(make_cache: MakeCache) -> None:
    field = make_cache().field("skeleton")
    (field.folder / "00001.h5").unlink()
    os.mkfifo(field.folder / "00001.h5")
    with pytest.raises(DamagedCacheError, match=r"00001\.h5: cannot be read \(not a regular file\)"):
        field.load(IDS)
