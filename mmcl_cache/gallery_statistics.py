"""What a cache's answers and features tell before anyone trains: answers by class, information, norms, missing rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmcl_cache.gallery_rows import PENDING, Seen
from mmcl_cache.store import STATUSES, Columns, Field

SHOWN_ANSWERS = 6
OTHER = "(other answers)"
SHUFFLES = 40
BINS = 24


@dataclass(frozen=True)
class ClassAnswers:
    """Answers of one class: `shares` in the order of the table's answers; `bits` is the divergence from all classes."""

    label: int
    name: str
    count: int
    shares: tuple[float, ...]
    bits: float


@dataclass(frozen=True)
class AnswerTable:
    """Answers to one question.

    `information` is the mutual information of answer and class, `by_chance` what shuffled answers have, `entropy` of
    the answers, `class_entropy` of the classes; all bits.
    """

    answers: tuple[str, ...]
    classes: tuple[ClassAnswers, ...]
    count: int
    information: float
    by_chance: float
    entropy: float
    class_entropy: float


@dataclass(frozen=True)
class Norms:
    """L2 norms of a feature column over `count` rows; `constant` of its `size` values never change."""

    name: str
    count: int
    size: int
    quantiles: tuple[float, float, float, float, float]  # least, 5 %, median, 95 %, most
    constant: int
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class Missing:
    """Rows of one field variant by status, and why those that are not ok are not, most frequent first."""

    name: str
    fingerprint: str
    counts: Mapping[str, int]
    reasons: tuple[tuple[str, str, int, tuple[str, ...]], ...]  # status, reason, count, examples


def tabulate_answers(
    answers: Sequence[str], labels: np.ndarray, class_names: Sequence[str], choices: Sequence[str] = ()
) -> AnswerTable | None:
    """Shares of each answer in each class, classes sorted by the share of the first answer; None without answers.

    Args:
        answers: n texts. labels: (n,) 0-based.
        choices: come first and in their order; then others by frequency; the rest is one entry.
    """
    if not answers:
        return None
    frequent = [text for text, _ in Counter(answers).most_common()]
    named = [c for c in choices if c in set(frequent)]
    others = [text for text in frequent[: 2 * SHOWN_ANSWERS] if text not in named]
    named += others[: max(SHOWN_ANSWERS - len(named), 0)]
    shown = [*named, OTHER] if len(named) < len(frequent) else named
    number = {text: code for code, text in enumerate(frequent)}
    codes = np.asarray([number[text] for text in answers])
    place = {text: column for column, text in enumerate(named)}
    columns = np.asarray([place.get(text, len(named)) for text in frequent])[codes]
    table = _joint(labels, columns, len(class_names), len(shown))
    whole = table.sum(axis=0) / table.sum()
    rows = []
    for label in np.flatnonzero(table.sum(axis=1)).tolist():
        shares = table[label] / table[label].sum()
        bits = float((shares[shares > 0] * np.log2(shares[shares > 0] / whole[shares > 0])).sum())
        total = int(table[label].sum())
        rows.append(ClassAnswers(label, class_names[label], total, tuple(shares.tolist()), bits))
    rows.sort(key=lambda row: (*(-share for share in row.shares), row.label))
    full = _joint(labels, codes, len(class_names), len(frequent))
    generator = np.random.default_rng(0)
    shuffled = [
        mutual_information(_joint(labels, generator.permutation(codes), *full.shape)) for _ in range(SHUFFLES)
    ]
    return AnswerTable(
        answers=tuple(shown),
        classes=tuple(rows),
        count=len(answers),
        information=mutual_information(full),
        by_chance=float(np.mean(shuffled)),
        entropy=_entropy(full.sum(axis=0)),
        class_entropy=_entropy(full.sum(axis=1)),
    )


def mutual_information(table: np.ndarray) -> float:
    """Bits that rows and columns of a table of counts tell of each other."""
    return max(_entropy(table.sum(axis=0)) + _entropy(table.sum(axis=1)) - _entropy(table.reshape(-1)), 0.0)


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return abs(float((shares * np.log2(shares)).sum()))


def _joint(labels: np.ndarray, columns: np.ndarray, num_classes: int, num_columns: int) -> np.ndarray:
    flat = np.bincount(labels.astype(np.int64) * num_columns + columns, minlength=num_classes * num_columns)
    return flat.reshape(num_classes, num_columns)


def feature_columns(field: Field) -> list[str]:
    """Names of the columns that are features: float16 and not empty."""
    return [c.name for c in field.columns if c.dtype == "float16" and not c.ragged and np.prod(c.shape)]


class NormCounter:
    """Collects a feature column row by row; give `add` to `read_rows`."""

    def __init__(self, name: str, column: str) -> None:
        self.column = column
        self._name = name
        self._norms: list[float] = []
        self._first: np.ndarray | None = None
        self._changes: np.ndarray | None = None

    def add(self, part: Columns, row: int) -> None:
        value = part[self.column][row].astype(np.float32).reshape(-1)
        self._norms.append(float(np.linalg.norm(value)))
        if self._first is None or self._changes is None:
            self._first, self._changes = value, np.zeros(len(value), dtype=bool)
        else:
            self._changes |= value != self._first

    def result(self) -> Norms | None:
        """None where no row was ok."""
        if self._changes is None:
            return None
        norms = np.asarray(self._norms)
        low, p5, middle, p95, high = np.quantile(norms, [0, 0.05, 0.5, 0.95, 1]).tolist()
        constant = int((~self._changes).sum()) if len(norms) > 1 else 0
        histogram = np.histogram(norms, bins=BINS)[0].tolist()
        return Norms(
            self._name,
            len(norms),
            len(self._changes),
            (low, p5, middle, p95, high),
            constant,
            tuple(histogram),
        )


def count_missing(field: Field, seen: Mapping[str, Seen[object]]) -> Missing:
    """Statuses and reasons of the rows that were read. Equal reasons that name their own sample count as one."""
    counts = Counter(row.status for row in seen.values())
    reasons: dict[tuple[str, str], list[str]] = {}
    for sample_id, row in seen.items():
        if row.status != "ok":
            key = (row.status, row.reason.replace(sample_id, "<sample>"))
            reasons.setdefault(key, []).append(sample_id)
    listed = sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
    return Missing(
        field.name,
        field.fingerprint,
        {status: counts.get(status, 0) for status in (*STATUSES, PENDING)},
        tuple((status, reason, len(ids), tuple(ids[:3])) for (status, reason), ids in listed),
    )
