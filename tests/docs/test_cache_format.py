"""The reader printed in docs/cache-format.md reads a cache with h5py alone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mmcl_cache.store import Cache
from tests.mmcl_cache.store.conftest import COLUMNS, make_description, make_row, make_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    from dataclasses import replace

    from mmcl_cache.store import Column, create_cache

    made = create_cache(tmp_path / "cache", make_description(), make_table(), 5)
    field = made.add_field("skeleton", "default", {}, (*COLUMNS, Column("bodies", "int32")))
    for k in field.pending():
        rows = [make_row(i) for i in field.shard_ids(k).tolist()]
        field.write_shard(
            k, [replace(r, values={**r.values, "bodies": 1}) if r.status == "ok" else r for r in rows]
        )
    return made


def test_documented_reader_gives_the_joints_of_every_valid_sample(cache: Cache) -> None:
    text = (ROOT / "docs" / "cache-format.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert block is not None
    scope: dict[str, object] = {}
    exec(compile(block.group(1), "docs/cache-format.md", "exec"), scope)
    found = scope["read_skeletons"](cache.path)  # type: ignore[operator]
    expected = [make_row(i) for i in cache.samples.sample_ids.tolist()]
    assert sorted(found) == [r.sample_id for r in expected if r.status == "ok"]
    for row in expected:
        if row.status == "ok":
            np.testing.assert_array_equal(found[row.sample_id][:, 0], row.values["joints"])
