"""A cache small enough to train from in a second, with something to learn in it: classes differ in how a hand moves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from mmcl_cache.store import LAYOUTS, Cache, Column, Description, Row, SampleTable, create_cache
from tests.mmcl_train.data.small_cache import jpeg_of, write_field

CLASSES = ("still", "wave", "raise", "punch")
SAMPLES, SUBJECTS = 48, 6
SMALL = (
    "model.width=0.125", "clip.length=16", "clip.shortest=8", "train.batch=8", "train.device=cpu",
    "schedule.epochs=3", "schedule.warmup=1", "schedule.steps=2", "optimiser.lr=0.05",
)  # fmt: skip


def joints_of(n: int) -> np.ndarray:
    """(T, 1, 25, 3) of sample n, class n % 4."""
    generator = np.random.default_rng(n)
    frames = int(generator.integers(12, 30))
    joints = np.tile(generator.normal(0, 0.3, (25, 3)), (frames, 1, 1, 1)) + generator.normal(
        0, 0.01, (frames, 1, 25, 3)
    )
    time = np.linspace(0, 2 * np.pi, frames)
    joints[:, 0, 7, :] += np.stack([np.sin(time) * (k == n % 4) for k in (1, 2, 3)], axis=1)
    return joints.astype(np.float32)


def make_cache(path: Path, co_learning: bool = True, strips: bool = False) -> Cache:
    """Subjects 0–3 train, 4 and 5 test; every fifth sample has no rgb and no strip, every seventh no text."""
    ids = np.array([f"S{n:03d}" for n in range(SAMPLES)])
    rows = np.arange(SAMPLES, dtype=np.int32)
    subjects = rows // 4 % SUBJECTS
    codes = np.where(subjects < 4, 1, 2).astype(np.uint8)
    table = SampleTable(ids, rows % 4, subjects, rows * 0, rows * 0 - 1, {"xsub": codes})
    description = Description(
        "learnable", CLASSES, LAYOUTS["ntu25"], 1, ("xsub",), 3, {"transform": "crop-resize", "length": 16}
    )
    cache = create_cache(path, description, table, 20)
    skeletons, images, texts = [], [], []
    for n, sample_id in enumerate(ids.tolist()):
        joints = joints_of(n)
        values = {"joints": joints.reshape(-1, 25, 3), "frames": np.int32(len(joints)), "bodies": np.int32(1)}
        skeletons.append(Row(sample_id, "ok", "", values))
        images.append(
            Row(sample_id, "absent", "no video") if n % 5 == 4 else Row(sample_id, "ok", "", _rgb(n))
        )
        texts.append(
            Row(sample_id, "failed", "no answer") if n % 7 == 6 else Row(sample_id, "ok", "", _text(n))
        )
    joints_column = Column("joints", "float32", (25, 3), ragged=True)
    write_field(
        cache, "skeleton", [joints_column, Column("frames", "int32"), Column("bodies", "int32")], skeletons
    )
    if co_learning:
        write_field(
            cache, "rgb", [Column("logits", "float16", (10,)), Column("pooled", "float16", (0,))], images
        )
        whole, wide = ["token_count"], [("hidden_mean", 4), ("hidden_last", 4)]
        columns = [Column("tokens", "int32", (1, 3)), *(Column(name, "int32", (1,)) for name in whole)]
        columns += [Column("log_prob", "float32", (1, 3)), Column("choice_prob", "float32", (1, 2))]
        columns += [*(Column(name, "float16", (1, width)) for name, width in wide), Column("answer", "utf8")]
        write_field(cache, "text", columns, texts)
    if strips:
        rows = [
            Row(name, "absent", "no video") if n % 5 == 4 else Row(name, "ok", "", {"jpeg": jpeg_of(n % 12)})
            for n, name in enumerate(ids.tolist())
        ]
        write_field(cache, "strip", [Column("jpeg", "uint8", ragged=True)], rows)
    return cache


def _rgb(n: int) -> dict[str, np.ndarray]:
    logits = np.random.default_rng(1000 + n).normal(0, 0.3, 10)
    logits[n % 4] += 2
    return {"logits": logits.astype(np.float16), "pooled": np.zeros(0, np.float16)}


def _text(n: int) -> dict[str, object]:
    yes = n % 2
    return {
        "tokens": np.array([[1, 5 + yes, 2]], np.int32),
        "token_count": np.array([3], np.int32),
        "log_prob": np.zeros((1, 3), np.float32),
        "choice_prob": np.array([[yes, 1 - yes]], np.float32),
        "hidden_mean": np.full((1, 4), yes, np.float16),
        "hidden_last": np.full((1, 4), yes, np.float16),
        "answer": json.dumps(["yes" if yes else "no"]),
    }


if __name__ == "__main__":
    make_cache(Path(sys.argv[1]))
