"""Is a cache whole? What is in it? Answers from markers alone, or from every byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from mmcl_cache.errors import CacheError
from mmcl_cache.store.cache import Cache
from mmcl_cache.store.field import Field
from mmcl_cache.store.files import sync_folder
from mmcl_cache.store.join import map_threads
from mmcl_cache.store.lock import hold_lock
from mmcl_cache.store.marker import marker_path, replacement_path, shard_path


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
        part = field.read_shard(k, columns=[], check="never")
        for n, (sample_id, status) in enumerate(
            zip(part.sample_ids.tolist(), part.status.tolist(), strict=True)
        ):
            if status != "ok":
                yield sample_id, status, part.reasons[n]


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong: in shard `shard` of a field variant, or in the variant itself (None)."""

    field: Field | None
    shard: int | None
    problem: str


def find_damage(cache: Cache, progress: Callable[[int, int], None] | None = None) -> Iterator[Damage]:
    """Read every byte of every finished shard; pending shards are not damage."""
    fields = [(f, v) for f, variants in cache.fields().items() for v in variants]
    for at, (name, variant) in enumerate(fields):
        try:
            field = cache.field(name, variant)
        except CacheError as error:
            yield Damage(None, None, str(error))
            continue
        for k, problem in enumerate(map_threads(partial(_check_shard, field), range(field.num_shards))):
            if problem:
                yield Damage(field, k, problem)
            if progress is not None:
                progress(at * field.num_shards + k + 1, len(fields) * field.num_shards)
        field.seals.save()


def _check_shard(field: Field, index: int) -> str:
    """What is wrong with a shard; empty where it is whole or pending."""
    try:
        marker = field.marker(index)
        if marker is None:
            return ""
        counts = Counter(field.read_shard(index, check="always").status.tolist())
    except CacheError as error:
        return str(error)
    if {status: n for status, n in marker.statuses.items() if n} != dict(counts):
        return f"{field.folder}: shard {index}: its statuses are not those of its marker"
    return ""


def verify(cache: Cache, progress: Callable[[int, int], None] | None = None) -> list[str]:
    """One line for each thing that is wrong in a cache."""
    return [damage.problem for damage in find_damage(cache, progress)]


def repair(cache: Cache) -> tuple[int, list[str]]:
    """Remove exactly the damaged shards, markers first, so that the next build makes them again.

    Returns:
        how many were removed, and what cannot be mended so.

    Raises:
        CacheError: a build is writing this cache.
    """
    removed, left = 0, []
    with hold_lock(cache.path):
        for damage in list(find_damage(cache)):
            if damage.field is None or damage.shard is None:
                left.append(damage.problem)
                continue
            folder = damage.field.folder
            marker_path(folder, damage.shard).unlink(missing_ok=True)
            sync_folder(folder)
            for path in (shard_path(folder, damage.shard), replacement_path(folder, damage.shard)):
                path.unlink(missing_ok=True)
            removed += 1
    return removed, left
