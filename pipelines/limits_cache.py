"""A cache of any number of rows with NTU's widths and made-up content, to load at full size without a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_cache.store import LAYOUTS, Cache, Column, Description, Row, SampleTable, create_cache

CLASSES, SUBJECTS, SHARD = 60, 40, 256
MEAN_FRAMES, TWO_BODIES = 75, 0.3  # so 1.3 bodies on average
TOKENS, HIDDEN, LOGITS, POOLED = 20, 768, 1000, 2048
ABSENT = 0.005  # of the rows of every field: enough for most shards to have one

SKELETON = (
    Column("joints", "float32", (25, 3), True, "m"),
    Column("frames", "int32"),
    Column("bodies", "int32"),
)
TEXT = (
    Column("tokens", "int32", (1, TOKENS)),
    Column("token_count", "int32", (1,)),
    Column("log_prob", "float32", (1, TOKENS)),
    Column("choice_prob", "float32", (1, 2)),
    Column("hidden_mean", "float16", (1, HIDDEN)),
    Column("hidden_last", "float16", (1, HIDDEN)),
    Column("answer", "utf8"),
)
RGB = (Column("logits", "float16", (LOGITS,)), Column("pooled", "float16", (POOLED,)))


def write_large_cache(path: Path, rows: int) -> Cache:
    """`rows` samples with skeleton, text and rgb, all fields complete."""
    numbers = np.arange(rows)
    labels, subjects = numbers % CLASSES, numbers // CLASSES % SUBJECTS
    setups = numbers // (CLASSES * SUBJECTS)
    ids = [
        f"S{s:04d}P{p:03d}A{a:03d}"
        for s, p, a in zip(setups.tolist(), subjects.tolist(), labels.tolist(), strict=True)
    ]
    table = SampleTable(
        np.asarray(ids),
        labels.astype(np.int32),
        subjects.astype(np.int32),
        np.zeros(rows, np.int32),
        setups.astype(np.int32),
        {"xsub": (1 + subjects % 2).astype(np.uint8)},
    )
    classes = tuple(f"class {n}" for n in range(CLASSES))
    cache = create_cache(path, Description("made", classes, LAYOUTS["ntu25"], 2, ("xsub",)), table, SHARD)
    for name, columns, make in (
        ("skeleton", SKELETON, _skeletons),
        ("text", TEXT, _texts),
        ("rgb", RGB, _images),
    ):
        _write(cache, name, columns, make(np.random.default_rng(0)))
    return cache


Values = Iterator[dict[str, Any]]


def _write(cache: Cache, name: str, columns: tuple[Column, ...], values: Values) -> None:
    field = cache.add_field(name, "default", {"made": "at random, to measure limits"}, columns)
    chance = np.random.default_rng(len(name))
    for shard in field.pending():
        ids = field.shard_ids(shard).tolist()
        absent = chance.random(len(ids)) < ABSENT
        field.write_shard(
            shard,
            [
                Row(sample_id, "absent", "made without") if gone else Row(sample_id, "ok", "", next(values))
                for sample_id, gone in zip(ids, absent.tolist(), strict=True)
            ],
        )


def _skeletons(rng: np.random.Generator) -> Values:
    take = _pieces(rng, (25, 3), np.float32)
    while True:
        frames = int(np.clip(rng.normal(MEAN_FRAMES, 25), 20, 300))
        bodies = 1 + int(rng.random() < TWO_BODIES)
        yield {"joints": take(frames * bodies), "frames": frames, "bodies": bodies}


def _texts(rng: np.random.Generator) -> Values:
    hidden, plain = _pieces(rng, (HIDDEN,), np.float16), _pieces(rng, (TOKENS,), np.float32)
    while True:
        yield {
            "tokens": rng.integers(0, 30_522, (1, TOKENS), dtype=np.int32),
            "token_count": np.full(1, TOKENS, np.int32),
            "log_prob": plain(1),
            "choice_prob": np.full((1, 2), 0.5, np.float32),
            "hidden_mean": hidden(1),
            "hidden_last": hidden(1),
            "answer": '["yes"]',
        }


def _images(rng: np.random.Generator) -> Values:
    logits, pooled = _pieces(rng, (LOGITS,), np.float16), _pieces(rng, (POOLED,), np.float16)
    while True:
        yield {"logits": logits(1)[0], "pooled": pooled(1)[0]}


def _pieces(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Callable[[int], np.ndarray]:
    """Gives n elements somewhere out of one random block: drawing every value anew takes most of the time."""
    block = rng.standard_normal((4096, *shape)).astype(dtype)

    def take(count: int) -> np.ndarray:
        begin = int(rng.integers(0, len(block) - count))
        return block[begin : begin + count]

    return take
