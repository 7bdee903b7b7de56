"""What a report tells of its runs: their sum, what they confuse, how they compare with the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.store import UserError
from mmcl_train.scores.compare import Comparison, compare
from mmcl_train.scores.ensemble import Ensemble, combine, fit_weights
from mmcl_train.scores.files import Scores, align, join
from mmcl_train.scores.metrics import confusion

from .runs import FinishedRun


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes taken for each other: samples of the first taken for the second, and the other way round.

    `before` are the baseline's two counts, None without a baseline. `samples` are rows of the report's samples, of
    the first and of the second class: those confused first, the surest ones first, then some that are right.
    """

    first: int
    second: int
    counts: tuple[int, int]
    before: tuple[int, int] | None
    samples: tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Findings:
    """`logits` (N, classes) are the sum over the runs; `fitted` is None where weights cannot be fitted, `why` tells."""

    classes: tuple[str, ...]
    sample_ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    logits: NDArray[np.float64]
    matrix: NDArray[np.int64]
    pairs: tuple[ConfusedPair, ...]
    equal: Ensemble | None
    fitted: Ensemble | None
    why: str
    comparison: Comparison | None
    compared: str


def find(
    runs: Sequence[FinishedRun],
    baselines: Sequence[FinishedRun],
    num_pairs: int = 8,
    num_samples: int = 3,
) -> Findings:
    """All of it, on the samples that every run has.

    Raises:
        UserError: runs of other samples or classes.
    """
    joined = join([run.scores for run in [*runs, *baselines]])
    ours, theirs = joined[: len(runs)], joined[len(runs) :]
    first = joined[0]
    labels = first.labels
    if labels is None:
        raise UserError(f"{first.path}: these scores have no labels")
    logits = _total(ours)
    matrix = confusion(logits, labels)
    before = confusion(_total(theirs), labels) if theirs else None
    equal, fitted, why = _ensembles(runs)
    alike = [run for run in runs if run.kind in {other.kind for other in baselines}]
    chosen = alike or list(runs)
    comparison = (
        compare([run.scores for run in chosen], [run.scores for run in baselines]) if baselines else None
    )
    return Findings(
        classes=_class_names(runs, first.logits.shape[1]),
        sample_ids=first.sample_ids,
        labels=labels,
        logits=logits,
        matrix=matrix,
        pairs=find_pairs(logits, labels, before, num_pairs, num_samples),
        equal=equal,
        fitted=fitted,
        why=why,
        comparison=comparison,
        compared=", ".join(run.name for run in chosen) if comparison else "",
    )


def find_pairs(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    before: NDArray[np.int64] | None,
    num_pairs: int,
    num_samples: int,
) -> tuple[ConfusedPair, ...]:
    """The pairs of classes confused most often, in either direction.

    Args:
        logits: (N, classes). labels: (N,). before: (classes, classes) confusion of the baseline.
    """
    matrix = confusion(logits, labels)
    both = np.triu(matrix + matrix.T, k=1)
    order = np.argsort(-both, axis=None, kind="stable")[:num_pairs]
    pairs = []
    for a, b in zip(*(index.tolist() for index in np.unravel_index(order, both.shape)), strict=True):
        if not both[a, b]:
            break
        pairs.append(
            ConfusedPair(
                a,
                b,
                (int(matrix[a, b]), int(matrix[b, a])),
                None if before is None else (int(before[a, b]), int(before[b, a])),
                (_examples(logits, labels, a, b, num_samples), _examples(logits, labels, b, a, num_samples)),
            )
        )
    return tuple(pairs)


def _examples(
    logits: NDArray[np.floating], labels: NDArray[np.int64], label: int, other: int, count: int
) -> tuple[int, ...]:
    rows = np.flatnonzero(labels == label)
    predicted = logits[rows].argmax(axis=1)
    margin = logits[rows, other] - logits[rows, label]
    rank = np.where(predicted == other, 0, np.where(predicted == label, 1, 2))
    kept = np.lexsort((rows, -margin, rank))
    return tuple(rows[kept[rank[kept] < 2]][:count].tolist())


def _total(files: Sequence[Scores]) -> NDArray[np.float64]:
    total = np.zeros(files[0].logits.shape)
    for scores in files:
        total += scores.logits
    return total


def _ensembles(runs: Sequence[FinishedRun]) -> tuple[Ensemble | None, Ensemble | None, str]:
    """With equal weights and with fitted ones, where there is more than one backbone or stream."""
    if len({run.kind for run in runs}) < 2:
        return None, None, ""
    scores = [run.scores for run in runs]
    equal = combine(scores, [1.0] * len(scores))
    vals = [run.val for run in runs if run.val is not None]
    if len(vals) < len(runs):
        return equal, None, "not every run has val scores to fit weights on"
    try:
        for val in vals:
            align(val, vals[0])
        return equal, combine(scores, fit_weights(vals, apart_from=scores[0])), ""
    except UserError as error:
        return equal, None, str(error)


def _class_names(runs: Sequence[FinishedRun], count: int) -> tuple[str, ...]:
    for run in runs:
        names = run.scores.about.get("classes")
        if isinstance(names, list) and len(names) == count:
            return tuple(str(name) for name in names)
    return tuple(f"class {label}" for label in range(count))
