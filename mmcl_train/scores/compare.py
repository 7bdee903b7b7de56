"""Two groups of runs on the same samples: how much better is one, and how sure is that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from mmcl_cache.store import UserError

from .files import Scores, join
from .metrics import class_accuracy, confusion, hits

RESAMPLES = 10_000
CHUNK = 1_000


@dataclass(frozen=True)
class Group:
    """Top-1 of several runs (seeds) of one setting, shares; std is of the sample (n − 1), NaN for one run."""

    names: tuple[str, ...]
    top1: tuple[float, ...]
    mean: float
    std: float


@dataclass(frozen=True)
class McNemar:
    """One run against one other: samples only one of them has right, and the exact two-sided p."""

    first: str
    second: str
    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True)
class ClassChange:
    """Mean top-1 of one class in both groups, shares."""

    name: str
    count: int
    first: float
    second: float

    @property
    def gain(self) -> float:
        return self.first - self.second


@dataclass(frozen=True)
class PairChange:
    """Share of the samples of class `label` taken for class `taken_for`, mean over the runs of each group."""

    label: str
    taken_for: str
    count: int
    first: float
    second: float

    @property
    def change(self) -> float:
        return self.first - self.second


@dataclass(frozen=True)
class Comparison:
    """`first` minus `second` everywhere; `interval` is the 95 % bootstrap interval of the difference of the means."""

    first: Group
    second: Group
    difference: float
    interval: tuple[float, float]
    paired_by_seed: bool
    samples: int
    mcnemar: tuple[McNemar, ...]
    classes: tuple[ClassChange, ...]
    pairs: tuple[PairChange, ...]


def compare(
    first: Sequence[Scores], second: Sequence[Scores], *, seed: int = 0, num_pairs: int = 10
) -> Comparison:
    """Compare runs `first` against runs `second` on the same samples.

    Bootstrap: samples are drawn with replacement, the same ones for all runs (paired), and so are the runs: pairs
    of equal seeds where both groups have the same seeds, else each group's runs by themselves.

    Raises:
        UserError: a group is empty, the samples or classes differ, or there are no labels.
    """
    if not first or not second:
        raise UserError("compare needs at least one run on each side: mmcl-train compare A... --against B...")
    joined = join([*first, *second])
    labels = joined[0].labels
    if labels is None:
        raise UserError("none of the score files has labels; give at least one .npz written by a run")
    ours, theirs, by_seed = _pair(joined[: len(first)], joined[len(first) :])
    right_ours = np.stack([hits(scores.logits, labels) for scores in ours])
    right_theirs = np.stack([hits(scores.logits, labels) for scores in theirs])
    names = _class_names(joined, ours[0].logits.shape[1])
    return Comparison(
        first=_group(ours, right_ours),
        second=_group(theirs, right_theirs),
        difference=float(right_ours.mean() - right_theirs.mean()),
        interval=bootstrap(right_ours, right_theirs, paired=by_seed, seed=seed),
        paired_by_seed=by_seed,
        samples=len(labels),
        mcnemar=tuple(
            mcnemar(a.name, b.name, right_ours[i], right_theirs[i])
            for i, (a, b) in enumerate(zip(ours, theirs, strict=False))
        ),
        classes=_class_changes(ours, theirs, labels, names),
        pairs=_pair_changes(ours, theirs, labels, names, num_pairs),
    )


def bootstrap(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    *,
    paired: bool,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """95 % interval of mean(first) − mean(second), resampling samples and runs.

    Args:
        first: (R, N) bool, right or not, R runs of one group.
        second: (S, N) bool, the same samples.
        paired: run i of both groups belongs together (R = S); both are drawn as one.
        seed: of the resampling.
    """
    generator = np.random.default_rng(seed)
    runs, count = first.shape
    means = []
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        drawn = (
            generator.multinomial(count, np.full(count, 1 / count), size=size) / count
        )  # (size, N) sample weights
        top_first, top_second = drawn @ first.T, drawn @ second.T  # (size, R), (size, S)
        pick = generator.integers(0, runs, size=(size, runs))
        other = pick if paired else generator.integers(0, len(second), size=(size, len(second)))
        means.append(
            np.take_along_axis(top_first, pick, 1).mean(axis=1)
            - np.take_along_axis(top_second, other, 1).mean(axis=1)
        )
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def mcnemar(name: str, other: str, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """Exact McNemar test of two runs on the same samples (binomial over the samples only one has right)."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    return McNemar(name, other, only_first, only_second, p)


def _pair(first: list[Scores], second: list[Scores]) -> tuple[list[Scores], list[Scores], bool]:
    """Both groups in the order of their seeds where these are the same set, each seed once."""
    seeds = [[scores.about.get("seed") for scores in group] for group in (first, second)]
    known = [[value for value in group if isinstance(value, int)] for group in seeds]
    if known != seeds or sorted(known[0]) != sorted(known[1]) or len(set(known[0])) != len(known[0]):
        return first, second, False
    ordered = [sorted(group, key=lambda scores: int(scores.about["seed"])) for group in (first, second)]
    return ordered[0], ordered[1], True


def _group(runs: list[Scores], right: NDArray[np.bool_]) -> Group:
    top1 = right.mean(axis=1)
    return Group(
        names=tuple(scores.name for scores in runs),
        top1=tuple(top1.tolist()),
        mean=float(top1.mean()),
        std=float(top1.std(ddof=1)) if len(top1) > 1 else float("nan"),
    )


def _class_names(files: list[Scores], count: int) -> list[str]:
    for scores in files:
        names = scores.about.get("classes")
        if isinstance(names, list) and len(names) == count:
            return [str(name) for name in names]
    return [f"class {label}" for label in range(count)]


def _class_changes(
    first: list[Scores], second: list[Scores], labels: NDArray[np.int64], names: list[str]
) -> tuple[ClassChange, ...]:
    means = [
        np.mean([class_accuracy(scores.logits, labels) for scores in group], axis=0)
        for group in (first, second)
    ]
    counts = np.bincount(labels, minlength=len(names))
    changes = [
        ClassChange(name, int(counts[i]), float(means[0][i]), float(means[1][i]))
        for i, name in enumerate(names)
        if counts[i]
    ]
    return tuple(sorted(changes, key=lambda change: (-change.gain, change.name)))


def _pair_changes(
    first: list[Scores], second: list[Scores], labels: NDArray[np.int64], names: list[str], num_pairs: int
) -> tuple[PairChange, ...]:
    """The confusions that changed most, by samples."""
    means = [
        np.mean([confusion(scores.logits, labels) for scores in group], axis=0) for group in (first, second)
    ]
    change = means[0] - means[1]
    np.fill_diagonal(change, 0)
    counts = np.bincount(labels, minlength=len(names))
    order = np.argsort(-np.abs(change), axis=None, kind="stable")[:num_pairs]
    found = []
    for label, taken_for in zip(*np.unravel_index(order, change.shape), strict=True):
        if change[label, taken_for] != 0:
            share = [float(mean[label, taken_for] / counts[label]) for mean in means]
            found.append(PairChange(names[label], names[taken_for], int(counts[label]), share[0], share[1]))
    return tuple(found)
