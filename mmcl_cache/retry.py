"""Rows of a finished cache made again: those that failed, or those whose files are others now; every other row stays.

    files ─▶ recorder ─▶ new skeleton and strip rows ─▶ models, where a strip changed ─▶ shards replaced

Settings are those the cache recorded; what would be made otherwise now is refused. A shard is only replaced when one of
its rows came out otherwise, text and rgb before the strips they are made from: a retry that is killed in between finds
its strips as they were, and so knows what is left to do. A good row is never replaced by one that is not, unless it
belongs to a strip that is replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmcl_cache.datasets import Dataset, Sample
from mmcl_cache.due import Choice, Due, features_of, find_due, strips_by_fingerprint
from mmcl_cache.encoders import Batches, Encoder
from mmcl_cache.engines.job import Job, decode_workers
from mmcl_cache.engines.local import AHEAD
from mmcl_cache.errors import UserError
from mmcl_cache.fields.features import make_feature_rows, open_strips, pack_strips
from mmcl_cache.recorded import Machine, open_again, recorded_config
from mmcl_cache.source_check import SourceReport
from mmcl_cache.store import Cache, Field, Row
from mmcl_cache.store.files import remove_temporaries
from mmcl_cache.store.lock import hold_lock
from mmcl_cache.video.workers import TaskPool

Tell = Callable[["Outcome"], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one row.

    Args:
        before, after: status; the same text where nothing changed but the content.
        changed: the stored row is another one than before.
        reason: why it is still not ok, or why a good row was kept.
    """

    sample_id: str
    field: str
    before: str
    after: str
    changed: bool
    reason: str = ""

    def __str__(self) -> str:
        if self.before != self.after:
            more = f" ({self.reason})" if self.after != "ok" else ""
            return f"{self.field} {self.before} → {self.after}{more}"
        if self.after != "ok":
            return f"{self.field} still {self.after}: {self.reason}"
        if self.reason:
            return f"{self.field} kept, since its files give no row now: {self.reason}"
        return f"{self.field} made again" if self.changed else f"{self.field} comes out as it was"


@dataclass
class RetryReport:
    """Args:
    outcomes: of every row that was tried.
    shards: that were replaced.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    shards: int = 0
    wall_seconds: float = 0.0

    def count(self, wanted: Callable[[Outcome], bool]) -> int:
        """Samples with such a row."""
        return len({o.sample_id for o in self.outcomes if wanted(o)})


@dataclass(frozen=True)
class _Maker:
    """What makes a field variant: everything open, and found to be what made it."""

    field: Field
    job: Job


def plan_retry(cache: Cache, dataset: Dataset, choice: Choice, found: SourceReport | None = None) -> Due:
    """The rows that `run_retry` would try.

    Args:
        found: what a check of the source found; for `choice.changed`.
    """
    return find_due(cache, dataset, choice, found.changed_rows if found is not None else set())


def run_retry(cache: Cache, dataset: Dataset, due: Due, machine: Machine, tell: Tell) -> RetryReport:
    """Make the rows that are due again.

    Args:
        dataset: as `find_source` gives it, with the samples of the cache.
        due: as `plan_retry` gives it.
        tell: called with what became of each row, as it is on disk.

    Raises:
        UserError: another process writes this cache, a model cannot be had or go on, the disk is full; shards replaced
            so far are kept.
        StaleCacheError: a row would be made otherwise now; the settings that differ are named.
    """
    report = RetryReport()
    started = time.monotonic()
    makers = _open_makers(cache, dataset, due, machine)
    with hold_lock(cache.path):
        for name, variants in cache.fields().items():
            for variant in variants:
                opened = cache.field(name, variant)
                remove_temporaries(opened.folder)
                opened.finish_replacements()
        retry = _Retry(cache, due, makers, report, tell)
        for name in due:
            if name.startswith("skeleton/"):
                retry.run_recorded(makers[name], [])
        for strip in strips_by_fingerprint(cache).values():
            retry.run_strips(strip, [makers[f.name] for f in features_of(cache, strip) if f.name in makers])
    report.wall_seconds = time.monotonic() - started
    return report


def _open_makers(cache: Cache, dataset: Dataset, due: Due, machine: Machine) -> dict[str, _Maker]:
    """Before anything is touched: whatever makes a row that is due, or follows one that is."""
    makers: dict[str, _Maker] = {}
    strips = strips_by_fingerprint(cache)
    needed = [cache.field(*name.split("/", 1)) for name in due]
    known = {f.name for f in needed}
    for strip in strips.values():
        if strip.name in known:
            needed += [f for f in features_of(cache, strip) if f.name not in known]
    for each in needed:
        config = recorded_config(cache, each, machine)
        made_from = strips.get(each.made_from.get("strip", ""))
        encoders = open_again(cache, dataset, each, config, made_from)
        makers[each.name] = _Maker(each, Job(config, dataset, cache, {each.field: each}, encoders))
    return makers


class _Retry:
    """The shards of a retry, one after the other."""

    def __init__(
        self, cache: Cache, due: Due, makers: dict[str, _Maker], report: RetryReport, tell: Tell
    ) -> None:
        self._cache, self._due, self._makers = cache, due, makers
        self._report, self._tell = report, tell

    def run_strips(self, strip: Field, followers: Sequence[_Maker]) -> None:
        """A strip variant with all that is made from it."""
        own = self._due.get(strip.name, {})
        if own:
            self.run_recorded(self._makers[strip.name], followers)
        for k in sorted({k for f in followers for k in self._due.get(f.field.name, {})} - set(own)):
            self._follow(strip.read_shard(k).rows(), set(), k, followers)

    def run_recorded(self, maker: _Maker, followers: Sequence[_Maker]) -> None:
        """Shards whose rows come from files; what is made from them goes first."""
        shards = self._due[maker.field.name]
        samples = [maker.job.samples(k)[n] for k in sorted(shards) for n in sorted(shards[k])]
        with closing(_record(maker, samples)) as rows:
            for k in sorted(shards):
                stored = maker.field.read_shard(k).rows()
                merged, changed, outcomes = list(stored), set(), []
                for n in sorted(shards[k]):
                    new = next(rows)
                    keep = stored[n].status == "ok" and new.status != "ok"
                    if not keep and not equal_rows(stored[n], new):
                        merged[n] = new
                        changed.add(n)
                    outcomes.append(_outcome(maker.field, stored[n], new, n in changed))
                if followers:
                    self._follow(merged, _differing_strips(stored, merged, changed), k, followers)
                self._keep(maker.field, k, merged, changed, outcomes)

    def _follow(self, strips: list[Row], changed: set[int], k: int, followers: Sequence[_Maker]) -> None:
        """Text and rgb of one shard, where they are due or their strip changed."""
        for maker in followers:
            wanted = self._due.get(maker.field.name, {}).get(k, set()) | changed
            if not wanted or maker.field.marker(k) is None:
                continue
            stored = maker.field.read_shard(k).rows()
            merged, altered, outcomes = list(stored), set(), []
            for n, new in _encode(maker, strips, wanted):
                keep = stored[n].status == "ok" and new.status != "ok" and n not in changed
                if not keep and not equal_rows(stored[n], new):
                    merged[n] = new
                    altered.add(n)
                outcomes.append(_outcome(maker.field, stored[n], new, n in altered))
            self._keep(maker.field, k, merged, altered, outcomes)

    def _keep(
        self, field: Field, k: int, rows: list[Row], changed: set[int], outcomes: list[Outcome]
    ) -> None:
        """Put a shard in the place of the old one, if it is another."""
        if changed:
            try:
                field.replace_shard(k, rows)
            except OSError as error:
                raise UserError(
                    f"{field.folder}: shard {k} could not be replaced ({error.strerror or error}); nothing is lost: "
                    "mend the disk and run the same command again"
                ) from None
            self._report.shards += 1
        self._report.outcomes += outcomes
        for outcome in outcomes:
            self._tell(outcome)


def _record(maker: _Maker, samples: Sequence[Sample]) -> Generator[Row, None, None]:
    """The new rows of these samples, in turn."""
    recorder = maker.job.recorder([maker.field.field])
    workers = min(decode_workers(maker.job.config), len(samples))
    deadline = maker.job.config.deadline
    with TaskPool(recorder, workers, deadline, max_pending=AHEAD * max(workers, 1)) as pool:
        for sample, result in zip(samples, pool.run(samples, ordered=True), strict=True):
            rows = result.value or recorder.failed(sample, result.error or "")
            yield getattr(rows, maker.field.field)


def _encode(maker: _Maker, strips: list[Row], wanted: set[int]) -> Iterator[tuple[int, Row]]:
    """Row number and new row of those wanted; a model sees the windows that it saw in the build."""
    size = maker.job.config.batch_size
    encoder: Encoder = maker.job.encoders[maker.field.field]
    with maker.job.torch_threads():
        for start in sorted({n // size * size for n in wanted}):
            window = strips[start : start + size]
            packed = pack_strips(window)
            rows = make_feature_rows(Batches(encoder, size), packed, open_strips(packed))
            for n in sorted(wanted & set(range(start, start + len(window)))):
                yield n, rows[n - start]


def _differing_strips(stored: list[Row], merged: list[Row], changed: set[int]) -> set[int]:
    """Rows whose text and rgb would come out otherwise: new bytes, or another reason for having none."""
    return {
        n
        for n in changed
        if merged[n].status != "ok"
        or stored[n].status != "ok"
        or not np.array_equal(stored[n].values["jpeg"], merged[n].values["jpeg"])
    }


def equal_rows(one: Row, other: Row) -> bool:
    """Would the two be stored as the same bytes?"""
    if (one.status, one.reason, one.source) != (other.status, other.reason, other.source):
        return False
    return one.values.keys() == other.values.keys() and all(
        _equal_values(value, other.values[name]) for name, value in one.values.items()
    )


def _equal_values(one: Any, other: Any) -> bool:
    return bool(one == other) if isinstance(one, str) else np.array_equal(np.asarray(one), np.asarray(other))


def _outcome(field: Field, stored: Row, new: Row, changed: bool) -> Outcome:
    after = new if changed or stored.status != "ok" else stored
    reason = new.reason if new.status != "ok" else ""
    return Outcome(stored.sample_id, field.name, stored.status, after.status, changed, reason)
