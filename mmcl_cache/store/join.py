"""Rows of many shards as one table: which row of which shard comes where, and getting it there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mmcl_cache.store.columns import Columns, Ragged
from mmcl_cache.store.contents import read_offsets, read_reasons, read_status
from mmcl_cache.store.hdf5 import ArrayFile
from mmcl_cache.store.schema import REASON_COLUMN, Column

MOST_THREADS = 4  # that read shards; each holds one in memory
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Part:
    """What is wanted of one shard: its rows `rows` (n,) stand at `places` (n,) of the joined table."""

    shard: int
    rows: np.ndarray
    places: np.ndarray

    def runs(self) -> list[tuple[int, int, int]]:
        """(first row, one past the last row, place of the first): rows that stand side by side here and there."""
        breaks = np.flatnonzero((np.diff(self.rows) != 1) | (np.diff(self.places) != 1)) + 1
        begins = [0, *breaks.tolist()]
        ends = [*breaks.tolist(), len(self.rows)]
        return [
            (int(self.rows[a]), int(self.rows[z - 1]) + 1, int(self.places[a]))
            for a, z in zip(begins, ends, strict=True)
        ]


def divide(shards: Sequence[np.ndarray], wanted: np.ndarray) -> list[Part]:
    """The parts that make up these samples, by shard.

    Args:
        shards: for each shard, its sorted sample ids; sorted over all shards too.
        wanted: (N,) str, in any order.

    Raises:
        KeyError: with the first id that no shard has.
    """
    every = np.concatenate([*shards, np.zeros(0, dtype=str)])
    at = np.searchsorted(every, wanted)
    missing = np.flatnonzero(every[np.minimum(at, len(every) - 1)] != wanted) if len(every) else at
    if len(missing):
        raise KeyError(str(wanted[missing[0]]))
    sizes = np.asarray([len(ids) for ids in shards], dtype=np.int64)
    ends = np.cumsum(sizes)
    shard_of = np.searchsorted(ends, at, side="right")
    order = np.argsort(shard_of, kind="stable")
    numbers, begins = np.unique(shard_of[order], return_index=True)
    groups = np.split(order, begins[1:]) if len(order) else []
    return [
        Part(k, at[places] - (ends[k] - sizes[k]), places)
        for k, places in zip(numbers.tolist(), groups, strict=True)
    ]


class JoinedTable:
    """Room for N rows; `fill` puts a shard's rows into it. Threads may fill different parts at once.

    Args:
        sample_ids: (N,) str.
        columns: of the field, without the reasons.
        lengths: (N,) int64 of every ragged column, by name.
        spare: elements of zeros after the last row of every ragged column.
    """

    def __init__(
        self, sample_ids: np.ndarray, columns: Sequence[Column], lengths: dict[str, np.ndarray], spare: int
    ) -> None:
        self._sample_ids = sample_ids
        self._status = np.empty(len(sample_ids), dtype="S6")
        self._columns: dict[Column, np.ndarray | Ragged] = {
            c: _empty_ragged(c, lengths[c.name], spare)
            if c.is_ragged
            else np.empty((len(sample_ids), *c.shape), dtype=c.stored_dtype)
            for c in columns
        }
        self._reasons: dict[int, np.ndarray] = {}  # place → UTF-8; most rows have none

    def fill(self, part: Part, file: ArrayFile, sample_ids: np.ndarray) -> None:
        """Read what is wanted of a shard, and nothing else of it, straight to where it belongs.

        Args:
            sample_ids: of the whole shard.

        Raises:
            DamagedCacheError: the shard holds something else.
        """
        self._status[part.places] = read_status(file, sample_ids)[part.rows]
        self._fill_reasons(part, file, len(sample_ids))
        runs = part.runs()
        for column, into in self._columns.items():
            if isinstance(into, Ragged):
                at = read_offsets(file, column, len(sample_ids))
                for begin, end, place in runs:
                    first, last = into.offsets[place], into.offsets[place + end - begin]
                    file.read_into(into.flat[first:last], column.name, int(at[begin]))
            else:
                for begin, end, place in runs:
                    file.read_into(into[place : place + end - begin], column.name, begin)

    def columns(self) -> Columns:
        lengths = np.zeros(len(self._sample_ids), dtype=np.int64)
        for place, text in self._reasons.items():
            lengths[place] = len(text)
        reasons = _empty_ragged(REASON_COLUMN, lengths, 0)
        for place, text in self._reasons.items():
            reasons.stored(place)[:] = text
        values = {column.name: values for column, values in self._columns.items()}
        return Columns(self._sample_ids, self._status.astype("U6"), reasons, values)

    def _fill_reasons(self, part: Part, file: ArrayFile, rows: int) -> None:
        reasons = read_reasons(file, rows)
        for at in np.flatnonzero(reasons.lengths[part.rows]).tolist():
            self._reasons[int(part.places[at])] = reasons.stored(int(part.rows[at]))


def map_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`function` of every item, in order. Reading and hashing leave the interpreter to others meanwhile."""
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1), "shards") as pool:
        yield from pool.map(function, items)


def _empty_ragged(column: Column, lengths: np.ndarray, spare: int) -> Ragged:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    total = int(offsets[-1])
    flat = np.empty((total + spare, *column.shape), dtype=column.stored_dtype)
    flat[total:] = 0
    return Ragged(flat, offsets, column.dtype == "utf8")
