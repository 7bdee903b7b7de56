"""Caches are planned once, joined on the sample id, and never mixed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmcl_cache.store import (
    Cache,
    CacheError,
    DamagedCacheError,
    MissingFieldError,
    SampleTable,
    StaleCacheError,
    create_cache,
    field_status,
    invalid_rows,
    open_cache,
)
from tests.mmcl_cache.store.conftest import COLUMNS, fill, make_description, make_row, make_table

MakeCache = Callable[..., Cache]


def test_loaded_rows_are_those_of_the_asked_ids_in_the_asked_order(make_cache: MakeCache) -> None:
    field = open_cache(make_cache().path).field("skeleton")
    wanted = [f"S{n:03d}" for n in (22, 0, 3, 14, 13, 5, 1)]
    loaded = field.load(wanted)
    assert loaded.sample_ids.tolist() == wanted
    for n, sample_id in enumerate(wanted):
        row = make_row(sample_id)
        assert (loaded.status[n], loaded.reasons[n]) == (row.status, row.reason)
        if row.status == "ok":
            np.testing.assert_array_equal(loaded["joints"][n], row.values["joints"])
            assert (loaded["frames"][n], loaded["answer"][n]) == (row.values["frames"], row.values["answer"])
            np.testing.assert_array_equal(loaded["feature"][n], row.values["feature"])
        else:
            assert len(loaded["joints"][n]) == 0


def test_only_the_asked_columns_are_loaded(make_cache: MakeCache) -> None:
    loaded = make_cache().field("skeleton").load(["S001"], columns=["frames"])
    assert set(loaded.values) == {"frames"}


def test_unknown_sample_is_named(make_cache: MakeCache) -> None:
    with pytest.raises(MissingFieldError, match="S999"):
        make_cache().field("skeleton").load(["S001", "S999"])


def test_other_settings_are_refused_and_named(make_cache: MakeCache) -> None:
    cache = make_cache()
    with pytest.raises(
        StaleCacheError,
        match=r"people\.slack is 0\.1 on disk, 0\.2 asked for; settings\.quality is 95 on disk, 90",
    ):
        cache.add_field("skeleton", "default", {"quality": 90, "people": {"slack": 0.2}}, COLUMNS)
    assert not cache.field("skeleton").pending()


def test_other_settings_of_what_a_field_is_made_from_are_named_too(make_cache: MakeCache) -> None:
    cache = make_cache()
    sharp = cache.add_field("skeleton", "sharp", {"quality": 99, "people": {"slack": 0.1}}, COLUMNS)
    cache.add_field("text", "default", {}, COLUMNS, made_from=cache.field("skeleton"))
    with pytest.raises(
        StaleCacheError, match=r"made_from\.skeleton\.settings\.quality is 95 on disk, 99 asked for"
    ):
        cache.add_field("text", "default", {}, COLUMNS, made_from=sharp)


def test_two_variants_live_side_by_side(make_cache: MakeCache) -> None:
    cache = make_cache()
    other = cache.add_field("skeleton", "sharp", {"quality": 99}, COLUMNS)
    assert other.pending() == [0, 1, 2, 3, 4] and not cache.field("skeleton").pending()
    assert cache.fields() == {"skeleton": ["default", "sharp"]}


def test_other_samples_are_refused_and_counted(make_cache: MakeCache) -> None:
    cache = make_cache()
    with pytest.raises(StaleCacheError, match="23 samples on disk, 22 found now"):
        create_cache(cache.path, make_description(), make_table(22), 5)
    with pytest.raises(StaleCacheError, match="shard_size is 5 on disk, 6"):
        create_cache(cache.path, make_description(), make_table(), 6)


def test_other_labels_are_refused(make_cache: MakeCache) -> None:
    table = make_table()
    table.labels[4] = 2
    with pytest.raises(
        StaleCacheError, match="label of 1 samples, such as 'S004', is 1 on disk, 2 asked for"
    ):
        create_cache(make_cache().path, make_description(), table, 5)


def test_folder_of_something_else_is_not_taken_for_a_cache(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CacheError, match=r"thesis\.tex"):
        create_cache(tmp_path, make_description(), make_table(), 5)
    with pytest.raises(MissingFieldError, match="no cache at"):
        open_cache(tmp_path)


def test_missing_variant_lists_what_is_there(make_cache: MakeCache) -> None:
    with pytest.raises(MissingFieldError, match=r"no text/default; it has: skeleton/default"):
        make_cache().field("text")


def test_moved_cache_is_the_same_cache(make_cache: MakeCache, tmp_path: Path) -> None:
    cache = make_cache()
    moved = open_cache(Path(shutil.move(cache.path, tmp_path / "elsewhere")))
    again = create_cache(moved.path, make_description(), make_table(), 5)
    assert (
        again.add_field("skeleton", "default", {"quality": 95, "people": {"slack": 0.1}}, COLUMNS).pending()
        == []
    )


def test_same_rows_give_the_same_bytes(make_cache: MakeCache) -> None:
    one, two = make_cache("one").field("skeleton"), make_cache("two").field("skeleton")
    for name in ("00000.h5", "00004.h5", "00002.json", "field.json"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


def test_shard_reads_with_h5py_alone(make_cache: MakeCache) -> None:
    folder = make_cache().path / "skeleton" / "default"
    with h5py.File(folder / "00001.h5") as file:
        ids = [i.decode() for i in file["sample_id"][:]]
        offsets, joints = file["joints.offsets"][:], file["joints"][:]
    assert ids == ["S005", "S006", "S007", "S008", "S009"]
    np.testing.assert_array_equal(joints[offsets[1] : offsets[2]], make_row("S006").values["joints"])
    marker = json.loads((folder / "00001.json").read_text())
    assert marker["rows"] == 5 and marker["statuses"] == {"ok": 4, "absent": 1, "failed": 0}


def test_status_counts_every_row_and_lists_the_invalid_ones(make_cache: MakeCache) -> None:
    field = make_cache().field("skeleton")
    counts = field_status(field)
    assert counts.rows == {"ok": 17, "absent": 3, "failed": 3} and (counts.shards_done, counts.shards) == (
        5,
        5,
    )
    bad = {i: (s, r) for i, s, r in invalid_rows(field)}
    assert len(bad) == 6 and bad["S010"] == ("failed", "S010: cut short at frame é10")


def test_pending_shards_are_named_when_read(make_cache: MakeCache) -> None:
    field = make_cache(filled=False).field("skeleton")
    field.write_shard(0, [make_row(i) for i in field.shard_ids(0).tolist()])
    assert field.load(["S002"]).valid.all()
    with pytest.raises(MissingFieldError, match="shard 1 of 5 is not built"):
        field.load(["S002", "S007"])
    fill(field)
    assert field.load(["S002", "S007"]).valid.all()


def test_rows_of_another_shard_are_refused(make_cache: MakeCache) -> None:
    field = make_cache(filled=False).field("skeleton")
    with pytest.raises(ValueError, match="not those of the plan"):
        field.write_shard(1, [make_row(i) for i in field.shard_ids(0).tolist()])


def test_values_that_are_not_finite_are_refused(make_cache: MakeCache) -> None:
    field = make_cache(filled=False).field("skeleton")
    rows = [make_row(i) for i in field.shard_ids(0).tolist()]
    rows[1].values["feature"][2] = np.nan  # type: ignore[index]
    with pytest.raises(ValueError, match="feature"):
        field.write_shard(0, rows)
    assert 0 in field.pending()


def test_split_of_an_unknown_protocol_lists_the_known(make_cache: MakeCache) -> None:
    samples = make_cache().samples
    assert samples.select("xsub", "train").tolist() == [f"S{n:03d}" for n in range(0, 23, 2)]
    with pytest.raises(CacheError, match="no protocol 'xview'; it has: xsub"):
        samples.select("xview", "train")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "a"], "twice"),
        (["b", "a"], "not sorted"),
        (["../up"], "separator"),
        (["a\nb"], "control"),
        (["", "a"], "1 to"),
        (["x" * 201], "1 to"),
    ],
)
def test_ids_that_cannot_be_a_key_are_refused(ids: list[str], message: str) -> None:
    n = np.zeros(len(ids), dtype=np.int32)
    with pytest.raises(CacheError, match=message):
        SampleTable(np.asarray(ids), n, n, n, n, {})


def test_altered_sample_table_is_found(make_cache: MakeCache) -> None:
    path = make_cache().path
    table = bytearray((path / "samples.h5").read_bytes())
    table[-20] ^= 1
    (path / "samples.h5").write_bytes(table)
    with pytest.raises(DamagedCacheError, match="samples"):
        open_cache(path)


def test_altered_field_settings_are_found(make_cache: MakeCache) -> None:
    cache = make_cache()
    path = cache.path / "skeleton" / "default" / "field.json"
    path.write_text(path.read_text().replace("95", "96"))
    with pytest.raises(DamagedCacheError, match="altered"):
        cache.field("skeleton")


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"format_version": NaN}', "[" * 100_000])
def test_description_that_is_no_json_object_is_one_clear_error(make_cache: MakeCache, text: str) -> None:
    path = make_cache().path
    (path / "cache.json").write_text(text)
    with pytest.raises(DamagedCacheError, match=r"cache\.json"):
        open_cache(path)


def test_cache_of_another_format_version_is_refused(make_cache: MakeCache) -> None:
    path = make_cache().path
    value = json.loads((path / "cache.json").read_text())
    (path / "cache.json").write_text(json.dumps({**value, "format_version": 99}))
    with pytest.raises(CacheError, match="format 99"):
        open_cache(path)
