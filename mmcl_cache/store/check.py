"""Is a cache whole? What is in it? Answers from markers alone, or from every byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mmcl_cache.errors import CacheError
from mmcl_cache.store.cache import Cache
from mmcl_cache.store.field import Field


@dataclass(frozen=True)
class FieldStatus:
    """Counts of one field variant, read from its markers."""

    name: str
    shards_done: int
    shards: int
    rows: dict[str, int]  # status → rows of the finished shards
    bytes: int


def field_status(field: Field) -> FieldStatus:
    """Raises:
    DamagedCacheError: a marker that is not one, or of other settings.
    """
    rows: Counter[str] = Counter()
    done = size = 0
    for k in range(field.num_shards):
        marker = field.marker(k)
        if marker is not None:
            done += 1
            size += marker.bytes
            rows.update(marker.statuses)
    return FieldStatus(field.name, done, field.num_shards, dict(rows), size)


def invalid_rows(field: Field) -> Iterator[tuple[str, str, str]]:
    """(sample id, status, reason) of every finished row that is not ok, reading only shards that have some."""
    for k in range(field.num_shards):
        marker = field.marker(k)
        if marker is None or marker.statuses["ok"] == marker.rows:
            continue
        part = field.read_shard(k, columns=[], verify=False)
        for n, (sample_id, status) in enumerate(
            zip(part.sample_ids.tolist(), part.status.tolist(), strict=True)
        ):
            if status != "ok":
                yield sample_id, status, part.reasons[n]


def verify(cache: Cache, progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Read every byte of every finished shard. Returns a line for each thing that is wrong; pending is not wrong."""
    problems: list[str] = []
    fields = [(f, v) for f, variants in cache.fields().items() for v in variants]
    for at, (name, variant) in enumerate(fields):
        try:
            field = cache.field(name, variant)
        except CacheError as error:
            problems.append(str(error))
            continue
        for k in range(field.num_shards):
            try:
                if field.marker(k) is not None:
                    counts = Counter(field.read_shard(k).status.tolist())
                    marked = field.marker(k)
                    if marked is not None and {s: n for s, n in marked.statuses.items() if n} != dict(counts):
                        problems.append(
                            f"{field.folder}: shard {k}: its statuses are not those of its marker"
                        )
            except CacheError as error:
                problems.append(str(error))
            if progress is not None:
                progress(at * field.num_shards + k + 1, len(fields) * field.num_shards)
    return problems
