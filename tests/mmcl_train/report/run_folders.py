"""Run folders with scores made up: two classes that are taken for each other, one that is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mmcl_train.scores.files import Scores, write_scores

CLASSES = ("<script>alert(1)</script>", "a | b $\\frac$", "c & d")
SAMPLES = 24
HOSTILE = "<img src=x onerror=alert(2)>"


def sample_ids(split: str = "test") -> np.ndarray:
    return np.array([f"{split}-{n:02d}" for n in range(SAMPLES)])


def logits_of(seed: int, wrong: int, split: str = "test") -> np.ndarray:
    """(SAMPLES, 3): label n % 3; the first `wrong` samples of class 0 are taken for class 1."""
    labels = np.arange(SAMPLES) % 3
    logits = np.random.default_rng([seed, split == "val"]).normal(0, 0.1, (SAMPLES, 3))
    logits[np.arange(SAMPLES), labels] += 2
    logits[np.flatnonzero(labels == 0)[:wrong], 1] += 5
    return logits.astype(np.float32)


def write_run(
    path: Path,
    *,
    stream: str = "joint",
    seed: int = 1,
    co_learning: bool = True,
    wrong: int = 3,
    cache: str = "",
    val: bool = True,
    whole: bool = True,
) -> Path:
    """A run folder; with `whole` false the scores alone."""
    about = {
        "run": path.name,
        "fingerprint": f"print-{path.name}",
        "dataset": "made <i>up</i>",
        "protocol": "xsub",
        "backbone": "stgcn",
        "stream": stream,
        "seed": seed,
        "co_learning": co_learning,
        "classes": list(CLASSES),
    }
    for split in ("test", "val") if val else ("test",):
        scores = Scores(
            sample_ids(split),
            logits_of(seed, wrong, split),
            np.arange(SAMPLES) % 3,
            {**about, "split": split, "weights": "last"},
        )
        write_scores(path / "scores" / f"{split}-last.npz", scores)
    if not whole:
        return path
    files = {
        "config.json": {
            "data": {"cache": cache, "stream": stream},
            "train": {"seed": seed},
            "preset": HOSTILE,
        },
        "result.json": {**about, "epochs": 2, "parameters": 44000},
        "environment.json": {"packages": {"torch": "2.0"}, "command": HOSTILE},
        "fields.json": {"skeleton/default": "ab" * 32},
    }
    for name, value in files.items():
        (path / name).write_text(json.dumps(value))
    lines = [
        {"step": 3 * n, "epoch": n, "loss": 3.0 / n, "loss_contrastive": 1.0 / n if co_learning else 0.0}
        | {"train_top1": 0.3 * n, "val_top1": 0.2 * n}
        for n in (1, 2)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
