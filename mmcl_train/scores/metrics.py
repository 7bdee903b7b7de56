"""Accuracies of logits against labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Accuracy:
    """Shares between 0 and 1 over `count` samples."""

    top1: float
    top5: float
    mean_class: float
    count: int


def measure_accuracy(logits: Floats, labels: Ints) -> Accuracy:
    """Top-1, top-5 and mean per-class accuracy.

    Args:
        logits: (N, classes) float, any scale.
        labels: (N,) int, 0-based.

    Raises:
        ValueError: shapes do not belong together, or no sample at all.
    """
    _check(logits, labels)
    classes = class_accuracy(logits, labels)
    return Accuracy(
        top1=float(hits(logits, labels, 1).mean()),
        top5=float(hits(logits, labels, 5).mean()),
        mean_class=float(np.nanmean(classes)),
        count=len(labels),
    )


def hits(logits: Floats, labels: Ints, k: int = 1) -> NDArray[np.bool_]:
    """(N,) bool: is the label among the k highest logits. A tie goes to the class of the lower index, as in argmax."""
    _check(logits, labels)
    own = np.take_along_axis(logits, labels[:, None].astype(np.int64), axis=1)
    before = np.arange(logits.shape[1])[None, :] < labels[:, None]
    rank = ((logits > own) | ((logits == own) & before)).sum(axis=1)
    right: NDArray[np.bool_] = (rank < k) & np.isfinite(own[:, 0])
    return right


def class_accuracy(logits: Floats, labels: Ints) -> NDArray[np.float64]:
    """(classes,) top-1 accuracy of each class; NaN for a class without samples."""
    matrix = confusion(logits, labels)
    total = matrix.sum(axis=1)
    return np.where(total > 0, np.diag(matrix) / np.maximum(total, 1), np.nan)


def confusion(logits: Floats, labels: Ints) -> NDArray[np.int64]:
    """(classes, classes) counts: row the label, column the class of the highest logit."""
    _check(logits, labels)
    num_classes = logits.shape[1]
    flat = labels.astype(np.int64) * num_classes + logits.argmax(axis=1)
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)


def cross_entropy(logits: Floats, labels: Ints) -> float:
    """Mean negative log-likelihood of the labels under softmax, nats."""
    _check(logits, labels)
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sum - shifted[np.arange(len(labels)), labels]).mean())


def _check(logits: Floats, labels: Ints) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            f"logits (N, classes) and labels (N,) with N > 0, not {logits.shape} and {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, logits have {logits.shape[1]} classes"
        )
