"""Caches of NTU's sizes with random content, to measure speed on without a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_cache.store import LAYOUTS, Cache, Column, Description, Row, SampleTable, create_cache

CLASSES, RGB, TOKENS, HIDDEN, SHARD = 120, 1000, 3, 768, 512
TESTED, RAGGED_SHARD = 2, 10_000
SKELETON = (
    Column("joints", "float32", (25, 3), ragged=True),
    Column("frames", "int32"),
    Column("bodies", "int32"),
)


def write_random_cache(path: Path, count: int) -> Cache:
    """`count` samples of 60–120 frames, a fifth with two bodies, 1000 RGB logits and one answer
    of three tokens with a hidden state of 768."""
    generator = np.random.default_rng(0)
    ids = np.array([f"S{n:05d}" for n in range(count)])
    zeros = np.zeros(count, dtype=np.int32)
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    codes = np.where(np.arange(count) < 2, 2, 1).astype(np.uint8)
    layout = LAYOUTS["ntu25"]
    description = Description("bench", tuple(f"class {n}" for n in range(CLASSES)), layout, 2, ("all",))
    cache = create_cache(
        path, description, SampleTable(ids, labels, zeros, zeros, zeros, {"all": codes}), SHARD
    )

    def skeleton() -> dict[str, Any]:
        frames, bodies = int(generator.integers(60, 121)), 1 + int(generator.random() < 0.2)
        joints = generator.normal(0, 0.5, (frames * bodies, layout.num_joints, 3)).astype(np.float32)
        return {"joints": joints, "frames": np.int32(frames), "bodies": np.int32(bodies)}

    def rgb() -> dict[str, Any]:
        return {"logits": generator.normal(0, 1, RGB).astype(np.float16)}

    def text() -> dict[str, Any]:
        tokens = np.array([[30522, 2748 + int(generator.integers(2)), 102]], dtype=np.int32)
        hidden = generator.normal(0, 1, (1, HIDDEN)).astype(np.float16)
        return {"tokens": tokens, "token_count": np.array([TOKENS], dtype=np.int32), "hidden_mean": hidden}

    _write(cache, "skeleton", SKELETON, skeleton)
    _write(cache, "rgb", (Column("logits", "float16", (RGB,)),), rgb)
    answer = (Column("tokens", "int32", (1, TOKENS)), Column("token_count", "int32", (1,)))
    _write(cache, "text", (*answer, Column("hidden_mean", "float16", (1, HIDDEN))), text)
    return cache


def name_protocol(count: int) -> str:
    """Of the first `count` training clips of a cache of `write_ragged_cache`."""
    return f"first{count}"


def write_ragged_cache(path: Path, counts: Sequence[int]) -> Cache:
    """Skeletons of one body and 4 to 16 frames, as many as the largest count, and a protocol that trains on the first
    of them for every count; all test on the same two samples."""
    generator = np.random.default_rng(0)
    size = max(counts) + TESTED
    ids = np.array([f"S{n:07d}" for n in range(size)])
    zeros = np.zeros(size, dtype=np.int32)
    place = np.arange(size) - TESTED
    splits = {
        name_protocol(count): np.where(place < 0, 2, np.where(place < count, 1, 0)).astype(np.uint8)
        for count in counts
    }
    layout = LAYOUTS["ntu25"]
    description = Description("bench", ("a", "b", "c"), layout, 1, tuple(splits))
    table = SampleTable(ids, (np.arange(size) % 3).astype(np.int32), zeros, zeros, zeros, splits)
    cache = create_cache(path, description, table, RAGGED_SHARD)

    def skeleton() -> dict[str, Any]:
        frames = int(generator.integers(4, 17))
        joints = generator.standard_normal((frames, layout.num_joints, 3), dtype=np.float32)
        return {"joints": joints, "frames": np.int32(frames), "bodies": np.int32(1)}

    _write(cache, "skeleton", SKELETON, skeleton)
    return cache


def _write(cache: Cache, name: str, columns: tuple[Column, ...], make: Callable[[], dict[str, Any]]) -> None:
    field = cache.add_field(name, "default", {"made": "at random, for mmcl-train bench"}, columns)
    for shard in range(cache.num_shards):
        field.write_shard(
            shard, [Row(sample_id, "ok", "", make()) for sample_id in cache.shard_ids(shard).tolist()]
        )
