"""Rows of a cache for people to look at: read shard by shard, so that a large cache never lies in memory whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from mmcl_cache.errors import DamagedCacheError, UserError
from mmcl_cache.store import Cache, Columns, Field

T = TypeVar("T")
MOST_QUESTIONS = 1000
PENDING = "pending"  # beside the store's statuses: the shard of this row is not built yet


@dataclass(frozen=True)
class Seen(Generic[T]):
    """One row of one field: `value` is None unless the status is ok."""

    status: str
    reason: str
    value: T | None


@dataclass(frozen=True)
class Question:
    """One question that a `text` variant answers: its number there, its words, and answers with a probability."""

    variant: str
    number: int
    text: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What was answered, and how sure: among the choices where it is one, else of all its tokens; None if unknown."""

    text: str
    probability: float | None


def read_rows(
    field: Field, sample_ids: Sequence[str], columns: Iterable[str], convert: Callable[[Columns, int], T]
) -> dict[str, Seen[T]]:
    """These samples of a field by id, each ok row made smaller by `convert(shard, row)` as soon as it is read.

    Raises:
        DamagedCacheError: a shard is not what was written.
    """
    wanted, names = set(sample_ids), list(columns)
    seen: dict[str, Seen[T]] = {}
    for shard in range(field.num_shards):
        ids = field.shard_ids(shard).tolist()
        here = [(row, name) for row, name in enumerate(ids) if name in wanted]
        if not here:
            continue
        if field.marker(shard) is None:
            seen |= {name: Seen(PENDING, "not built yet", None) for _, name in here}
            continue
        part = field.read_shard(
            shard, names, check="once" if names else "never"
        )  # statuses alone are not worth hashing pictures
        for row, name in here:
            status = str(part.status[row])
            value = convert(part, row) if status == "ok" else None
            seen[name] = Seen(status, str(part.reasons[row]), value)
    return seen


def choose_variants(cache: Cache, variants: Mapping[str, str]) -> dict[str, list[str]]:
    """Field → the variants to show: all of them, or the one named for that field.

    Raises:
        MissingFieldError: a named one is not there.
    """
    found = cache.fields()
    for field, variant in variants.items():
        cache.field(field, variant)
        found[field] = [variant]
    return found


def questions_of(field: Field) -> list[Question]:
    """What a `text` variant asks, as far as its settings say."""
    asked = field.settings.get("questions")
    choices = field.settings.get("choices")
    shapes = {column.name: column.shape for column in field.columns}
    count = next((shapes[name][0] for name in ("tokens", "token_count") if shapes.get(name)), 1)
    if count > MOST_QUESTIONS:
        raise DamagedCacheError(f"{field.folder}: {count} questions; no cache has so many")
    texts = [str(text) for text in asked] if isinstance(asked, list) and len(asked) == count else None
    words = tuple(str(word) for word in choices) if isinstance(choices, list) else ()
    return [
        Question(field.variant, n, texts[n] if texts else f"question {n + 1}", words) for n in range(count)
    ]


def read_answers(field: Field, sample_ids: Sequence[str]) -> dict[str, Seen[list[Answer]]]:
    """The answers of a `text` variant, one a question."""
    asked = questions_of(field)
    there = {column.name for column in field.columns}
    columns = [name for name in ("answer", "choice_prob", "log_prob") if name in there]

    def convert(part: Columns, row: int) -> list[Answer]:
        texts = _answer_texts(str(part["answer"][row]) if "answer" in there else "", len(asked))
        try:
            return [_answer(part, row, question, texts[question.number]) for question in asked]
        except (IndexError, TypeError, ValueError, AttributeError):
            raise DamagedCacheError(
                f"{field.folder}: its columns are not those of {len(asked)} questions; rebuild {field.name}"
            ) from None

    return read_rows(field, sample_ids, columns, convert)


def _answer_texts(stored: str, count: int) -> list[str]:
    try:
        texts = json.loads(stored)
    except (ValueError, RecursionError):
        texts = None
    if not isinstance(texts, list) or len(texts) != count:
        return [stored] * count
    return [str(text) for text in texts]


def _answer(part: Columns, row: int, question: Question, text: str) -> Answer:
    values, number = part.values, question.number
    if text in question.choices and "choice_prob" in values:
        probabilities = part["choice_prob"][row, number]
        if len(probabilities) == len(question.choices):
            return Answer(text, float(probabilities[question.choices.index(text)]))
    if "log_prob" in values:
        return Answer(text, float(np.exp(part["log_prob"][row, number].sum())))
    return Answer(text, None)


def select_samples(
    cache: Cache,
    samples: Sequence[str] = (),
    classes: Sequence[str] = (),
    split: str = "",
) -> np.ndarray:
    """The sorted ids that all given selections leave.

    Args:
        samples: ids; none for all.
        classes: names or 0-based labels; none for all.
        split: PROTOCOL:train or PROTOCOL:test; empty for all.

    Raises:
        UserError: an id, class, protocol or split that the cache does not have.
    """
    table = cache.samples
    keep = np.ones(len(table), dtype=bool)
    if samples:
        keep[:] = False
        keep[table.positions(samples)] = True
    if classes:
        keep &= np.isin(table.labels, [_label(cache, name) for name in classes])
    if split:
        protocol, colon, part = split.partition(":")
        if not colon:
            known = ", ".join(f"{p}:test" for p in cache.description.protocols) or "none"
            raise UserError(f"--split {split}: say PROTOCOL:train or PROTOCOL:test; the cache has: {known}")
        keep &= np.isin(table.sample_ids, table.select(protocol, part))
    return table.sample_ids[keep]


def _label(cache: Cache, name: str) -> int:
    classes = cache.description.classes
    if name in classes:
        return classes.index(name)
    if name.isascii() and name.isdigit() and int(name) < len(classes):
        return int(name)
    near = [known for known in classes if name.lower() in known.lower()] or list(classes)
    shown = ", ".join(near[:8]) + (" …" if len(near) > 8 else "")
    raise UserError(f"--class {name}: the cache has no such class; it has: {shown}")


def spread_over_classes(sample_ids: np.ndarray, labels: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` of the ids, as many of each class as can be, evenly spaced within a class; sorted.

    Args:
        sample_ids: (n,) sorted. labels: (n,) of the same samples.
    """
    if len(sample_ids) <= limit:
        return sample_ids
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    share = [0] * len(groups)
    left = limit
    while left:
        open_groups = [g for g, group in enumerate(groups) if share[g] < len(group)]
        for g in open_groups[:left]:
            share[g] += 1
        left -= min(left, len(open_groups))
    kept = [
        group[np.linspace(0, len(group) - 1, count).round().astype(int)]
        for group, count in zip(groups, share, strict=True)
        if count
    ]
    return sample_ids[np.sort(np.concatenate(kept))]
