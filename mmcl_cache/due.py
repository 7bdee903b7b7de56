"""Which rows of a cache are to be made again."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

from mmcl_cache.datasets import Dataset
from mmcl_cache.errors import UserError
from mmcl_cache.fields.strip import NO_SKELETON
from mmcl_cache.source import built_fields
from mmcl_cache.store import Cache, Columns, Field

Due = dict[str, dict[int, set[int]]]
"""Field variant → shard → rows. Rows of text and rgb that only follow their strip are not among them."""


@dataclass(frozen=True)
class Choice:
    """What a person wants made again: failed rows, unless `changed` or `samples` say otherwise.

    Args:
        absent: rows too whose files were not there.
        changed: rows whose files are other ones than they were made from, of whatever status.
        samples: every row of these samples.
    """

    absent: bool = False
    changed: bool = False
    samples: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        return not self.changed and not self.samples


def find_due(
    cache: Cache, dataset: Dataset, choice: Choice, changed_rows: Set[tuple[str, str]] = frozenset()
) -> Due:
    """The rows of finished shards that a choice means; those of pending shards are left to `build`.

    A strip that had to show the whole frame, since its skeleton could not be read, is due with the skeleton: the same
    build with good files would have cropped it.

    Args:
        dataset: as `find_source` gives it.
        changed_rows: of a `SourceReport`; for `choice.changed`.

    Raises:
        UserError: the cache has no such sample.
    """
    unknown = set(choice.samples) - set(cache.samples.sample_ids.tolist())
    if unknown:
        raise UserError(f"--sample {sorted(unknown)[0]}: {cache.path} has no such sample")
    due: Due = {}
    for field in (*built_fields(cache, "skeleton"), *built_fields(cache, "strip")):
        for k, part in _finished(field):
            notes = _crops_without_skeleton(cache, dataset, choice, field, k, part)
            rows = {
                n
                for n, sample_id in enumerate(part.sample_ids.tolist())
                if _is_chosen(choice, sample_id, part.status[n])
                or (choice.absent and part.status[n] == "absent")
                or (field.name, sample_id) in changed_rows
            }
            _enter(due, field, k, rows | notes)
    strips = strips_by_fingerprint(cache)
    for field in (*built_fields(cache, "text"), *built_fields(cache, "rgb")):
        strip = strips.get(field.made_from.get("strip", ""))
        for k, part in _finished(field):
            if strip is None or strip.marker(k) is None:
                continue
            rows = {
                n
                for n, sample_id in enumerate(part.sample_ids.tolist())
                if _is_chosen(choice, sample_id, part.status[n])
            }
            if choice.failed and (part.status == "absent").any():
                rows |= _left_behind(part, strip.read_shard(k, [], check="never"))
            _enter(due, field, k, rows)
    return due


def strips_by_fingerprint(cache: Cache) -> dict[str, Field]:
    """Every strip variant, by what text and rgb variants know it by."""
    opened = [cache.field("strip", variant) for variant in cache.fields().get("strip", [])]
    return {field.fingerprint: field for field in opened}


def features_of(cache: Cache, strip: Field) -> list[Field]:
    """The text and rgb variants that `build` made from a strip variant."""
    every = (*built_fields(cache, "text"), *built_fields(cache, "rgb"))
    return [field for field in every if field.made_from.get("strip") == strip.fingerprint]


def _enter(due: Due, field: Field, index: int, rows: set[int]) -> None:
    if rows:
        due.setdefault(field.name, {})[index] = rows


def _finished(field: Field) -> Iterator[tuple[int, Columns]]:
    """Status and reason of the rows of every finished shard."""
    for k in range(field.num_shards):
        if field.marker(k) is not None:
            yield k, field.read_shard(k, [], check="never")


def _is_chosen(choice: Choice, sample_id: str, status: str) -> bool:
    return sample_id in choice.samples or (choice.failed and status == "failed")


def _crops_without_skeleton(
    cache: Cache, dataset: Dataset, choice: Choice, field: Field, index: int, part: Columns
) -> set[int]:
    """Rows of strips that show the whole frame for want of a skeleton that there is, and that may be good by now."""
    if field.field != "strip" or not (choice.failed or choice.absent):
        return set()
    samples = dataset.samples[index * cache.shard_size : (index + 1) * cache.shard_size]
    rows = [n for n, s in enumerate(samples) if s.skeleton is not None and part.reasons[n] == NO_SKELETON]
    if not rows:
        return set()
    skeletons = [f for f in built_fields(cache, "skeleton") if f.marker(index) is not None]
    status = skeletons[0].read_shard(index, [], check="never").status if skeletons else None
    return {
        n for n in rows if (choice.absent if status is not None and status[n] == "absent" else choice.failed)
    }


def _left_behind(part: Columns, strips: Columns) -> set[int]:
    """Absent rows of text or rgb that do not say what their strip says now: a retry was stopped between the two."""
    return {
        n
        for n, status in enumerate(part.status.tolist())
        if status == "absent" and part.reasons[n] != f"strip {strips.status[n]}: {strips.reasons[n]}"
    }


def list_due(cache: Cache, due: Due) -> dict[str, list[str]]:
    """Sample → the field variants of which its row is due, those of text and rgb that may follow included."""
    strips = strips_by_fingerprint(cache)
    followers = {s.name: [f.name for f in features_of(cache, s)] for s in strips.values() if s.name in due}
    found: dict[str, dict[str, None]] = {}
    for name, shards in due.items():
        for k, rows in shards.items():
            for sample_id in cache.shard_ids(k)[sorted(rows)].tolist():
                found.setdefault(sample_id, {}).update(dict.fromkeys([name, *followers.get(name, [])]))
    return {sample_id: list(found[sample_id]) for sample_id in sorted(found)}
