"""A small cache of made-up rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmcl_cache.store import LAYOUTS, Cache, Column, Description, Field, Row, SampleTable, create_cache

COLUMNS = (
    Column("joints", "float32", (25, 3), True, "m"),
    Column("frames", "int32"),
    Column("answer", "utf8"),
    Column("feature", "float16", (4,)),
)


def make_table(count: int = 23) -> SampleTable:
    ids = np.asarray([f"S{n:03d}" for n in range(count)])
    unknown = np.full(count, -1, dtype=np.int32)
    splits = {"xsub": (1 + np.arange(count) % 2).astype(np.uint8)}
    return SampleTable(ids, np.arange(count, dtype=np.int32) % 3, unknown, unknown, unknown, splits)


def make_description() -> Description:
    return Description("made", ("a", "b", "c"), LAYOUTS["ntu25"], 2, ("xsub",))


def make_row(sample_id: str) -> Row:
    """Everything in it follows from the id, so a row in the wrong place is seen."""
    number = int(sample_id[1:])
    if number % 7 == 3:
        return Row(sample_id, "failed", f"{sample_id}: cut short at frame é{number}")
    if number % 7 == 5:
        return Row(sample_id, "absent", "no skeleton file")
    rng = np.random.default_rng(number)
    return Row(
        sample_id,
        "ok",
        "",
        {
            "joints": rng.standard_normal((2 + number % 4, 25, 3)).astype(np.float32),
            "frames": number,
            "answer": f'["yes {number}"]',
            "feature": np.full(4, number, dtype=np.float16),
        },
    )


def fill(field: Field) -> None:
    for k in field.pending():
        field.write_shard(k, [make_row(i) for i in field.shard_ids(k).tolist()])


@pytest.fixture
def make_cache(tmp_path: Path) -> Callable[..., Cache]:
    def make(name: str = "cache", filled: bool = True, shard_size: int = 5) -> Cache:
        cache = create_cache(tmp_path / name, make_description(), make_table(), shard_size)
        field = cache.add_field("skeleton", "default", {"quality": 95, "people": {"slack": 0.1}}, COLUMNS)
        if filled:
            fill(field)
        return cache

    return make
