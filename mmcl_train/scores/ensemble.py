"""Weighted sums of several runs' logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from mmcl_cache.store import UserError

from .files import Scores, join, read_scores
from .metrics import Accuracy, cross_entropy, measure_accuracy

# MMCL's released weights for NTU-120 X-Sub, by backbone and stream. They were fitted on test scores.
PUBLISHED: dict[tuple[str, str], float] = {
    ("ctrgcn", "joint"): 2.361693,
    ("ctrgcn", "bone"): 4.354028,
    ("ctrgcn", "joint_motion"): 3.603824,
    ("ctrgcn", "bone_motion"): 1.015810,
    ("hdgcn", "joint"): 3.057485,
    ("hdgcn", "bone"): 5.0,
}
WEIGHTS = ("published", "equal", "fit")


@dataclass(frozen=True)
class Ensemble:
    """Single files and their weighted sum, over the same samples."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    singles: tuple[Accuracy, ...]
    joint: Accuracy
    scores: Scores


def combine(files: Sequence[Scores], weights: Sequence[float]) -> Ensemble:
    """Join on sample id and add the weighted logits.

    Raises:
        UserError: samples, labels or classes differ, no file has labels, or not one weight a file.
    """
    if len(weights) != len(files):
        raise UserError(
            f"{len(weights)} weights for {len(files)} score files; give one a file, in their order"
        )
    if not np.isfinite(weights).all():
        raise UserError(f"ensemble weights must be finite numbers, not {list(weights)}")
    joined = join(files)
    labels = joined[0].labels
    if labels is None:
        raise UserError("none of the score files has labels; give at least one .npz written by a run")
    total = np.zeros(joined[0].logits.shape, dtype=np.float64)
    for scores, weight in zip(joined, weights, strict=True):
        total += weight * scores.logits
    return Ensemble(
        names=tuple(scores.name for scores in joined),
        weights=tuple(float(weight) for weight in weights),
        singles=tuple(measure_accuracy(scores.logits, labels) for scores in joined),
        joint=measure_accuracy(total, labels),
        scores=Scores(joined[0].sample_ids, total.astype(np.float32), labels, {"run": "ensemble"}),
    )


def published_weights(files: Sequence[Scores]) -> tuple[float, ...]:
    """MMCL's weights by each file's backbone and stream, or by order where six files say neither.

    Raises:
        UserError: a file of another backbone or stream.
    """
    keys = [(str(scores.about.get("backbone", "")), str(scores.about.get("stream", ""))) for scores in files]
    if len(files) == len(PUBLISHED) and not any(backbone or stream for backbone, stream in keys):
        return tuple(PUBLISHED.values())
    for scores, key in zip(files, keys, strict=True):
        if key not in PUBLISHED:
            known = ", ".join(" ".join(known_key) for known_key in PUBLISHED)
            named = " ".join(key).strip() or "a file that names no backbone"
            raise UserError(f"{scores.path}: no published weight for {named}; there are: {known}")
    return tuple(PUBLISHED[key] for key in keys)


def fit_weights(files: Sequence[Scores], apart_from: Scores) -> tuple[float, ...]:
    """Weights ≥ 0 that minimise the cross-entropy of the weighted sum of logits.

    The objective is convex in the weights, so the answer does not depend on a start or a seed.

    Args:
        files: scores on samples that are not the ensemble's, one file a run, in the ensemble's order.
        apart_from: scores of the ensemble, whose samples must not be among these.

    Raises:
        UserError: the files cannot be joined, have no labels, or hold samples of the ensemble or of a test split.
    """
    for scores in files:
        if scores.about.get("split") == "test" or np.isin(scores.sample_ids, apart_from.sample_ids).any():
            raise UserError(
                f"{scores.path}: scores of test samples; ensemble weights are fitted on val scores"
            )
    joined = join(files)
    labels = joined[0].labels
    if labels is None:
        raise UserError("none of the val score files has labels")
    stacked = np.stack([scores.logits.astype(np.float64) for scores in joined])  # (R, N, classes)
    target: NDArray[np.int64] = labels

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total = np.tensordot(weights, stacked, axes=1)
        shifted = total - total.max(axis=1, keepdims=True)
        share = np.exp(shifted)
        share /= share.sum(axis=1, keepdims=True)
        share[np.arange(len(target)), target] -= 1
        return cross_entropy(total, target), np.einsum("rnc,nc->r", stacked, share) / len(target)

    start = np.full(len(files), 1 / len(files))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 100.0)] * len(files))
    if found.x.sum() < 1e-6:  # no file is better than nothing: no reason to prefer one
        return (1.0,) * len(files)
    return tuple(round(float(weight), 6) for weight in found.x)


def read_fit_scores(files: Sequence[Path], fit_on: Sequence[Path], which: str) -> list[Scores]:
    """The val scores to fit on: those given, or those of the run folders the ensemble is made of.

    Args:
        files: of the ensemble.
        fit_on: one a file, in the same order; none for the run folders' own.
        which: of a run folder the ensemble takes, "test-last" or "test-best-val"; its val scores are fitted on.

    Raises:
        UserError: not one a file, a file that is no run folder, or a run without val.
    """
    own = which.replace("test-", "val-", 1)
    if fit_on:
        if len(fit_on) != len(files):
            raise UserError(
                f"--fit-on: {len(fit_on)} files for {len(files)} score files; give one a file, in order"
            )
        return [read_scores(path, own) for path in fit_on]
    for path in files:
        if not path.is_dir():
            raise UserError(
                f"{path}: --weights fit needs val scores; give a run folder, or --fit-on a file for each"
            )
        if not (path / "scores" / f"{own}.npz").is_file():
            raise UserError(
                f"{path}: this run has no {own} scores (data.val=none?); fit on other runs with --fit-on"
            )
    return [read_scores(path, own) for path in files]


def parse_weights(text: str, files: Sequence[Scores]) -> tuple[float, ...] | None:
    """published | equal | numbers joined by commas; None for fit. Raises UserError for anything else."""
    if text == "fit":
        return None
    if text == "equal":
        return (1.0,) * len(files)
    if text == "published":
        return published_weights(files)
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--weights {text}: known: {', '.join(WEIGHTS)}, or numbers joined by commas"
        ) from None
