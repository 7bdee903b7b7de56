"""A cache with pictures, answers and skeletons, whose every text tries to be markup."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmcl_cache.store import LAYOUTS, Cache, Column, Description, Row, SampleTable, create_cache

HOSTILE = "<script>alert(1)<script>"  # a sample id must not hold a slash
ANSWER = "</script><script>alert(2)</script>"
CLASSES = ("wave", "<b onclick=alert(3)>kick</b>", 'say "hi" & go')
SAMPLES, SHARD = 12, 5
FAILED, ABSENT = 2, 7


def sample_ids() -> list[str]:
    return sorted([HOSTILE, *(f"s{n:02d}" for n in range(SAMPLES - 1))])


def make_cache(path: Path, fields: tuple[str, ...] = ("skeleton", "strip", "text", "rgb")) -> Cache:
    """Labels 0, 1, 2, 0 …; odd samples are test; the answer is yes for class 0, no for 1, hostile for 2."""
    ids, rows = sample_ids(), np.arange(SAMPLES, dtype=np.int32)
    table = SampleTable(
        np.asarray(ids), rows % 3, rows * 0, rows * 0, rows * 0, {"xsub": (1 + rows % 2).astype(np.uint8)}
    )
    cache = create_cache(
        path, Description("<i>made</i>", CLASSES, LAYOUTS["ntu25"], 2, ("xsub",)), table, SHARD
    )
    for name in fields:
        columns, settings = FIELDS[name]
        field = cache.add_field(name, "default", settings, columns)
        for shard in range(cache.num_shards):
            field.write_shard(shard, [_row(name, ids.index(i), i) for i in cache.shard_ids(shard).tolist()])
    return cache


FIELDS: dict[str, tuple[tuple[Column, ...], dict[str, Any]]] = {
    "skeleton": (
        (
            Column("joints", "float32", (25, 3), True, "m"),
            Column("frames", "int32"),
            Column("bodies", "int32"),
        ),
        {},
    ),
    "strip": ((Column("jpeg", "uint8", (), True),), {}),
    "text": (
        (
            Column("choice_prob", "float32", (1, 2)),
            Column("log_prob", "float32", (1, 4)),
            Column("token_count", "int32", (1,)),
            Column("hidden_mean", "float16", (1, 4)),
            Column("answer", "utf8"),
        ),
        {"questions": ["are <u>they</u> holding objects?"], "choices": ["yes", "no"]},
    ),
    "rgb": ((Column("logits", "float16", (10,)),), {}),
}


def _row(field: str, n: int, sample_id: str) -> Row:
    if n == FAILED and field != "skeleton":
        return Row(sample_id, "failed", f"{sample_id}: <img src=x onerror=alert(4)>")
    if n == ABSENT:
        return Row(sample_id, "absent", "no video" if field != "skeleton" else "no skeleton file")
    return Row(sample_id, "ok", "", _values(field, n))


def _values(field: str, n: int) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    if field == "skeleton":
        joints = rng.uniform(-0.3, 0.3, (6, 2, 25, 3)).astype(np.float32)
        joints[..., 3, 1] += 1.5  # the head, up
        return {"joints": joints.reshape(-1, 25, 3), "frames": 6, "bodies": 2}
    if field == "strip":
        return {"jpeg": strip_of(n)}
    if field == "rgb":
        return {"logits": rng.normal(size=10).astype(np.float16)}
    yes = (0.9, 0.2, 0.5)[n % 3]
    return {
        "choice_prob": np.array([[yes, 1 - yes]], np.float32),
        "log_prob": np.log(np.array([[1, 0.5, 0.5, 1]], np.float32)),
        "token_count": np.array([3], np.int32),
        "hidden_mean": np.array([[n, 1, 1, 1]], np.float16),
        "answer": json.dumps([("yes", "no", ANSWER)[n % 3]]),
    }


def strip_of(n: int) -> np.ndarray:
    file = io.BytesIO()
    Image.new("RGB", (120, 120), (20 * n, 60, 90)).save(file, "JPEG")
    return np.frombuffer(file.getvalue(), np.uint8)
