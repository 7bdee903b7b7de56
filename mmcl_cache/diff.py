"""What differs between two caches, or two field variants: settings by name with both values, then rows by sample id.

Rows are compared where settings are equal; where they are not, other rows are what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mmcl_cache.store import (
    NOT_SET,
    Cache,
    Columns,
    Field,
    MissingFieldError,
    Ragged,
    SampleTable,
    differing_settings,
    shorten,
)

EXAMPLES = 3
TABLE = ("labels", "subjects", "cameras", "setups")


@dataclass(frozen=True)
class SettingDifference:
    """One setting; `a` and `b` as JSON, or "not set"."""

    name: str
    a: str
    b: str


@dataclass(frozen=True)
class RowDifference:
    """Args:
    column: whose values differ; "status" and "reason" among them.
    count: of samples.
    samples: the first few of them, with both values where they are short.
    largest: the greatest difference of two numbers of a float column, in the column's unit.
    """

    column: str
    count: int
    samples: list[str]
    largest: float | None = None


@dataclass
class FieldDifference:
    """One field variant against another.

    Args:
        name: of the variant; of both where they have different names.
        fingerprints: of the two.
        settings: that differ; rows were not compared then.
        rows: columns that differ.
        compared: rows that both have.
        unbuilt: rows that only one of the two has built so far.
        notes: what differs and changes no byte by itself.
    """

    name: str
    fingerprints: tuple[str, str]
    settings: list[SettingDifference] = field(default_factory=list)
    rows: list[RowDifference] = field(default_factory=list)
    compared: int = 0
    unbuilt: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not (self.settings or self.rows or self.unbuilt)


@dataclass
class CacheDifference:
    """Args:
    plan: settings of the plan that differ: data set, layout, protocols, shard size …
    only_a, only_b: sample ids.
    table: columns of the sample table that differ, over the samples that both have.
    fields_only_a, fields_only_b: field variants.
    fields: those that both have.
    """

    plan: list[SettingDifference] = field(default_factory=list)
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    table: list[RowDifference] = field(default_factory=list)
    fields_only_a: list[str] = field(default_factory=list)
    fields_only_b: list[str] = field(default_factory=list)
    fields: list[FieldDifference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        own = (self.plan, self.only_a, self.only_b, self.table, self.fields_only_a, self.fields_only_b)
        return not any(own) and all(each.equal for each in self.fields)

    def to_json(self) -> dict[str, Any]:
        return {"equal": self.equal, **asdict(self)}


def diff_caches(a: Cache, b: Cache) -> CacheDifference:
    """Compare two caches, all of them.

    Raises:
        CacheError: one of them cannot be read.
    """
    found = CacheDifference(plan=_settings(_plan(a), _plan(b)))
    ids_a, ids_b = a.samples.sample_ids, b.samples.sample_ids
    found.only_a, found.only_b = np.setdiff1d(ids_a, ids_b).tolist(), np.setdiff1d(ids_b, ids_a).tolist()
    found.table = list(_compare_tables(a.samples, b.samples))
    names_a, names_b = ([f"{f}/{v}" for f, vs in c.fields().items() for v in vs] for c in (a, b))
    found.fields_only_a = [name for name in names_a if name not in names_b]
    found.fields_only_b = [name for name in names_b if name not in names_a]
    for name in (name for name in names_a if name in names_b):
        field_name, _, variant = name.partition("/")
        found.fields.append(diff_fields(a.field(field_name, variant), b.field(field_name, variant)))
    return found


def diff_fields(a: Field, b: Field) -> FieldDifference:
    """Compare two variants of one field, of one cache or of two.

    Raises:
        MissingFieldError: they are variants of different fields.
        CacheError: one of them cannot be read.
    """
    if a.field != b.field:
        raise MissingFieldError(f"{a.name} and {b.name} are different fields; compare variants of one field")
    name = a.name if a.name == b.name else f"{a.name} and {b.name}"
    found = FieldDifference(name, (a.fingerprint, b.fingerprint), _settings(_identity(a), _identity(b)))
    found.notes = [f"info.{each.name}: {each.a} in A, {each.b} in B" for each in _settings(a.info, b.info)]
    if not found.settings:
        _compare_rows(found, a, b)
    return found


def _plan(cache: Cache) -> dict[str, Any]:
    return {**cache.description.to_json(), "shard_size": cache.shard_size}


def _identity(variant: Field) -> dict[str, Any]:
    """What the fingerprint is taken of, columns by name."""
    return {**variant.identity, "columns": {c.name: c.to_json() for c in variant.columns}}


def _settings(a: Any, b: Any) -> list[SettingDifference]:
    return [SettingDifference(name, _tell(x), _tell(y)) for name, x, y in differing_settings(a, b)]


def _tell(value: Any) -> str:
    return "not set" if value is NOT_SET else shorten(value)


def _compare_tables(a: SampleTable, b: SampleTable) -> Iterator[RowDifference]:
    ids, in_a, in_b = np.intersect1d(a.sample_ids, b.sample_ids, assume_unique=True, return_indices=True)
    columns = {name: (getattr(a, name), getattr(b, name)) for name in TABLE}
    columns |= {f"split.{p}": (a.splits[p], b.splits[p]) for p in a.splits if p in b.splits}
    for name, (x, y) in columns.items():
        differs = np.flatnonzero(x[in_a] != y[in_b])
        if len(differs):
            told = [f"{ids[n]} ({x[in_a][n]} in A, {y[in_b][n]} in B)" for n in differs[:EXAMPLES].tolist()]
            yield RowDifference(name, len(differs), told)


def _compare_rows(found: FieldDifference, a: Field, b: Field) -> None:
    """Shard by shard of A; B may be cut into other shards."""
    built_b = _built_ids(b)
    found.unbuilt = len(np.setdiff1d(built_b, _built_ids(a))) if len(built_b) else 0
    tallies: dict[str, _Tally] = {}
    restamped = 0
    for k in range(a.num_shards):
        marker = a.marker(k)
        if marker is None:
            continue
        ids, rows, _ = np.intersect1d(a.shard_ids(k), built_b, assume_unique=True, return_indices=True)
        found.unbuilt += marker.rows - len(ids)
        found.compared += len(ids)
        if not len(ids):
            continue
        same_plan = k < b.num_shards and np.array_equal(a.shard_ids(k), b.shard_ids(k))
        other = b.marker(k) if same_plan else None
        if other is not None and other.sha256 == marker.sha256:
            # Both files are hashed against it here.
            a.read_shard(k, []), b.read_shard(k, [])
            continue
        part_a = a.read_shard(k)
        part_b = b.read_shard(k) if other is not None else b.load(ids)
        for column in _differing_columns(part_a, rows, part_b):
            tallies.setdefault(column.column, _Tally(column.column)).add(column)
        restamped += _count_restamped(part_a, part_b) if other is not None else 0
    found.rows = [tally.difference() for tally in tallies.values()]
    if restamped:
        found.notes.append(f"{restamped} rows were made from files with other stamps")


def _built_ids(variant: Field) -> np.ndarray:
    """Sorted ids of the finished shards."""
    done = [variant.shard_ids(k) for k in range(variant.num_shards) if variant.marker(k) is not None]
    return np.concatenate(done) if done else np.zeros(0, dtype=str)


@dataclass
class _Tally:
    """One column over all shards."""

    column: str
    count: int = 0
    samples: list[str] = field(default_factory=list)
    largest: float | None = None

    def add(self, found: RowDifference) -> None:
        self.count += found.count
        self.samples += found.samples[: EXAMPLES - len(self.samples)]
        if found.largest is not None:
            self.largest = max(found.largest, self.largest or 0.0)

    def difference(self) -> RowDifference:
        return RowDifference(self.column, self.count, self.samples, self.largest)


def _differing_columns(a: Columns, rows: np.ndarray, b: Columns) -> Iterator[RowDifference]:
    """The columns in which some rows of a shard differ; row n of `b` is row rows[n] of `a`."""
    ids = b.sample_ids.tolist()
    pairs: list[tuple[str, Any, Any]] = [("status", a.status, b.status), ("reason", a.reasons, b.reasons)]
    pairs += [(name, a.values[name], b.values[name]) for name in a.values]
    for name, x, y in pairs:
        differs = [n for n, at in enumerate(rows.tolist()) if not np.array_equal(_cell(x, at), _cell(y, n))]
        if not differs:
            continue
        cells = [(ids[n], _cell(x, int(rows[n])), _cell(y, n)) for n in differs]
        told = [
            f"{i} ({p or 'none'} in A, {q or 'none'} in B)" if isinstance(p, str) else i
            for i, p, q in cells[:EXAMPLES]
        ]
        yield RowDifference(name, len(differs), told, _largest([(p, q) for _, p, q in cells]))


def _cell(column: np.ndarray | Ragged, n: int) -> Any:
    value = column[n]
    return str(value) if isinstance(value, str) else value


def _largest(pairs: list[tuple[Any, Any]]) -> float | None:
    """The greatest difference of two numbers, over pairs of float arrays of one shape."""
    gaps = [
        float(np.abs(np.asarray(p, dtype=np.float64) - q).max())
        for p, q in pairs
        if isinstance(p, np.ndarray) and p.dtype.kind == "f" and p.shape == np.shape(q) and p.size
    ]
    return max(gaps, default=None)


def _count_restamped(a: Columns, b: Columns) -> int:
    if a.sources is None or b.sources is None:
        return 0
    return sum(x != y for x, y in zip(a.sources, b.sources, strict=True))
