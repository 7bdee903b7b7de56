"""A small cache with every field, some rows of it absent or failed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from mmcl_cache.store import LAYOUTS, Cache, Column, Description, Row, SampleTable, create_cache

SAMPLES, CLASSES, SHARD = 12, 3, 5
BAD_SKELETON, NO_RGB, FAILED_TEXT = 4, (1, 7), (2,)


def sample_ids() -> np.ndarray:
    return np.array([f"s{n:03d}" for n in range(SAMPLES)])


def skeleton_of(n: int) -> np.ndarray:
    """(T, M, 25, 3) of sample n; its values tell n."""
    rng = np.random.default_rng(n)
    frames, bodies = 5 + 3 * n, 1 + n % 2
    return (n + rng.uniform(0, 0.5, (frames, bodies, 25, 3))).astype(np.float32)


def jpeg_of(n: int) -> np.ndarray:
    """A strip of one grey, 20 · n."""
    file = io.BytesIO()
    Image.new("RGB", (48, 48), (20 * n,) * 3).save(file, "JPEG", quality=95)
    return np.frombuffer(file.getvalue(), np.uint8)


def make_table() -> SampleTable:
    codes = np.where(np.arange(SAMPLES) < 9, 1, 2).astype(np.uint8)
    rows = np.arange(SAMPLES, dtype=np.int32)
    return SampleTable(sample_ids(), rows % CLASSES, rows // 3, rows * 0, rows * 0 - 1, {"xsub": codes})


def write_field(
    cache: Cache, field: str, columns: list[Column], rows: list[Row], variant: str = "default"
) -> None:
    made = cache.add_field(field, variant, {"of": "a test"}, tuple(columns))
    for shard in range(cache.num_shards):
        wanted = set(cache.shard_ids(shard).tolist())
        made.write_shard(shard, [row for row in rows if row.sample_id in wanted])


def make_cache(path: Path) -> Cache:
    description = Description(
        "small",
        ("a", "b", "c"),
        LAYOUTS["ntu25"],
        2,
        ("xsub",),
        3,
        {"transform": "crop-resize", "length": 16},
    )
    cache = create_cache(path, description, make_table(), SHARD)
    skeletons, texts, images = [], [], []
    for n, sample_id in enumerate(sample_ids().tolist()):
        joints = skeleton_of(n)
        values = {
            "joints": joints.reshape(-1, 25, 3),
            "frames": np.int32(joints.shape[0]),
            "bodies": np.int32(joints.shape[1]),
        }
        if n == BAD_SKELETON:
            skeletons.append(Row(sample_id, "failed", "cut short"))
        else:
            skeletons.append(Row(sample_id, "ok", "", values))
        if n in NO_RGB:
            images.append(Row(sample_id, "absent", "no video"))
        else:
            rgb = {"logits": np.full(10, n, np.float16), "pooled": np.zeros(0, np.float16)}
            images.append(Row(sample_id, "ok", "", rgb))
        texts.append(Row(sample_id, "failed", "no answer") if n in FAILED_TEXT else _text_row(sample_id, n))
    one = Column("joints", "float32", (25, 3), ragged=True)
    write_field(cache, "skeleton", [one, Column("frames", "int32"), Column("bodies", "int32")], skeletons)
    write_field(cache, "rgb", [Column("logits", "float16", (10,)), Column("pooled", "float16", (0,))], images)
    strips = [
        Row(name, "absent", "no video") if n in NO_RGB else Row(name, "ok", "", {"jpeg": jpeg_of(n)})
        for n, name in enumerate(sample_ids().tolist())
    ]
    write_field(cache, "strip", [Column("jpeg", "uint8", ragged=True)], strips)
    columns = [
        Column("tokens", "int32", (2, 6)),
        Column("token_count", "int32", (2,)),
        Column("log_prob", "float32", (2, 6)),
        Column("choice_prob", "float32", (2, 2)),
        Column("hidden_mean", "float16", (2, 4)),
        Column("hidden_last", "float16", (2, 4)),
        Column("answer", "utf8"),
    ]
    write_field(cache, "text", columns, texts)
    return cache


def _text_row(sample_id: str, n: int) -> Row:
    """Two questions: yes or no (3 tokens), and an answer of one or two tokens (3 or 4)."""
    longer = n == 3
    tokens = np.zeros((2, 6), np.int32)
    tokens[0, :3] = (30522, 2748 + n, 102)
    tokens[1, :4] = (30522, 500 + n, 600, 102) if longer else (30522, 500 + n, 102, 0)
    values = {
        "tokens": tokens,
        "token_count": np.array([3, 4 if longer else 3], np.int32),
        "log_prob": np.zeros((2, 6), np.float32),
        "choice_prob": np.array([[0.25, 0.75], [n / 100, 0]], np.float32),
        "hidden_mean": np.full((2, 4), n, np.float16),
        "hidden_last": np.full((2, 4), -n, np.float16),
        "answer": json.dumps(["yes", "a bottle"]),
    }
    return Row(sample_id, "ok", "", values)
