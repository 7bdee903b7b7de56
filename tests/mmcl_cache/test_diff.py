"""`diff` names every setting and row in which two caches or variants differ, and no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mmcl_cache.cli import main
from mmcl_cache.store import Cache, create_cache
from tests.mmcl_cache.store.conftest import (  # noqa: F401
    COLUMNS,
    fill,
    make_cache,
    make_description,
    make_row,
    make_table,
)

MakeCache = Callable[..., Cache]


def diff(a: object, b: object, *options: str) -> Result:
    return CliRunner().invoke(main, ["diff", str(a), str(b), *options])


def test_equal_caches_give_0_and_say_so(make_cache: MakeCache) -> None:  # noqa: F811
    a, b = make_cache("a"), make_cache("b")
    done = diff(a.path, b.path)
    assert done.exit_code == 0 and "the same settings, the same rows" in done.output
    assert json.loads(diff(a.path, b.path, "--json").output)["equal"] is True


def test_caches_cut_into_other_shards_hold_the_same_rows(make_cache: MakeCache) -> None:  # noqa: F811
    a, b = make_cache("a"), make_cache("b", shard_size=7)
    found = json.loads(diff(a.path, b.path, "--json").output)
    assert [each["name"] for each in found["plan"]] == ["shard_size"]
    assert [(f["compared"], f["rows"], f["unbuilt"]) for f in found["fields"]] == [(23, [], 0)]


def test_every_setting_that_differs_is_named_with_both_values(make_cache: MakeCache, tmp_path: Path) -> None:  # noqa: F811
    a = make_cache("a")
    description = replace(make_description(), dataset="other", protocols=("xsub",), num_bodies=1)
    b = create_cache(tmp_path / "b", description, make_table(22), 5)
    fill(b.add_field("skeleton", "default", {"quality": 90, "people": {"slack": 0.1}, "new": 1}, COLUMNS))
    b.add_field("rgb", "default", {}, COLUMNS)
    done = diff(a.path, b.path)
    assert done.exit_code == 1
    for line in (
        'plan: dataset: "made" in A, "other" in B',
        "plan: num_bodies: 2 in A, 1 in B",
        "samples: 1 only in A: S022",
        "rgb/default: only in B",
        "skeleton/default: settings.quality: 95 in A, 90 in B",
        "skeleton/default: settings.new: not set in A, 1 in B",
    ):
        assert line in done.output.splitlines(), line
    assert "people" not in done.output and "rows were not compared" in done.output
    assert a.field("skeleton").fingerprint[:12] in done.output


def test_every_row_that_differs_is_named_by_column(make_cache: MakeCache) -> None:  # noqa: F811
    a, b = make_cache("a"), make_cache("b")
    field = b.field("skeleton")
    rows = [make_row(i) for i in field.shard_ids(1).tolist()]
    values = dict(rows[1].values)
    rows[1] = replace(
        rows[1], values=values | {"feature": values["feature"] + np.float16(0.5), "answer": "no"}
    )
    rows[2] = replace(rows[2], status="failed", reason="cut short", values={})
    field.replace_shard(1, rows)
    found = json.loads(diff(a.path, b.path, "--json").output)["fields"][0]
    told = {each["column"]: each for each in found["rows"]}
    assert {name: each["count"] for name, each in told.items()} == {
        "status": 1,
        "reason": 1,
        "joints": 1,
        "frames": 1,
        "answer": 2,
        "feature": 2,
    }
    assert told["status"]["samples"] == ["S007 (ok in A, failed in B)"]
    assert told["feature"]["samples"] == ["S006", "S007"] and told["feature"]["largest"] == 7.0
    assert diff(a.path, b.path).exit_code == 1
    back = diff(f"{b.path}:skeleton/default", f"{a.path}:skeleton/default")
    assert "status differs in 1 of 23 rows: S007 (failed in A, ok in B)" in back.output


def test_rows_that_only_one_has_built_are_counted(make_cache: MakeCache) -> None:  # noqa: F811
    a, b = make_cache("a"), make_cache("b")
    (b.path / "skeleton" / "default" / "00002.json").unlink()
    for done in (diff(a.path, b.path), diff(b.path, a.path)):
        assert done.exit_code == 1 and "5 rows are built in one of the two only" in done.output


def test_variants_of_one_field_are_compared_and_of_two_fields_refused(make_cache: MakeCache) -> None:  # noqa: F811
    cache = make_cache()
    fill(cache.add_field("skeleton", "sharp", {"quality": 99, "people": {"slack": 0.1}}, COLUMNS))
    fill(cache.add_field("text", "default", {}, COLUMNS))
    done = diff(f"{cache.path}:skeleton/default", f"{cache.path}:skeleton/sharp")
    assert done.exit_code == 1
    assert "skeleton/default and skeleton/sharp: settings.quality: 95 in A, 99 in B" in done.output
    refused = diff(f"{cache.path}:skeleton/default", f"{cache.path}:text/default")
    assert refused.exit_code == 2 and "different fields" in refused.output


def test_altered_shard_is_an_error_though_both_markers_agree(make_cache: MakeCache, tmp_path: Path) -> None:  # noqa: F811
    a = make_cache("a")
    b = Path(shutil.copytree(a.path, tmp_path / "b"))
    shard = b / "skeleton" / "default" / "00001.h5"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = diff(a.path, b)
    assert done.exit_code == 2 and str(shard) in done.output


@pytest.mark.parametrize(
    ("b", "message"),
    [
        ("{cache}:skeleton", "FIELD/VARIANT"),
        ("{cache}/gone", "no cache at"),
        ("{cache}:text/default", "of both"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(make_cache: MakeCache, b: str, message: str) -> None:  # noqa: F811
    cache = make_cache()
    done = diff(cache.path, b.format(cache=cache.path))
    last = done.output.strip().splitlines()[-1]
    assert done.exit_code == 2 and message in last and last.startswith("mmcl-cache: "), done.output
