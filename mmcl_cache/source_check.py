"""Are the files of a data set still those that a cache was made from? Its rows carry stamps; see `fields.stamp`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from mmcl_cache.datasets import Dataset
from mmcl_cache.fields.stamp import SKELETON, VIDEO, read_stamps, strip_sources, take_stamps
from mmcl_cache.source import built_fields
from mmcl_cache.store import Cache, Field

# Disks and network mounts answer several questions at once; digests are computed outside the interpreter lock.
THREADS = min(8, 2 * (os.cpu_count() or 1))
RECORDED = ("skeleton", "strip")


@dataclass
class SourceReport:
    """What became of the files since the rows were made. The lists name sample ids, each sample in one of them.

    Args:
        changed: sample → the kinds of its files that are other ones now.
        vanished: sample → the kinds of its files that are gone.
        appeared: sample → the kinds of files it has now and had not.
        unchanged: samples whose files are all the same.
        not_recorded: samples with rows that carry no stamps, made by an earlier version.
        changed_rows: (field variant, sample) of every row whose file is another one now.
    """

    changed: dict[str, list[str]] = field(default_factory=dict)
    vanished: dict[str, list[str]] = field(default_factory=dict)
    appeared: dict[str, list[str]] = field(default_factory=dict)
    unchanged: int = 0
    not_recorded: int = 0
    changed_rows: set[tuple[str, str]] = field(default_factory=set)

    @property
    def differs(self) -> bool:
        return bool(self.changed or self.vanished)


@dataclass
class _Files:
    """What the rows of one sample say about its files."""

    recorded: dict[str, dict[str, str]] = field(default_factory=dict)  # field variant → kind of file → stamp
    absent: set[str] = field(default_factory=set)  # kinds of files that there were not
    lacks_stamps: bool = False


def check_source(
    cache: Cache, dataset: Dataset, progress: Callable[[int, int], None] = lambda done, total: None
) -> SourceReport:
    """Compare the files of a data set with what the rows of a cache say about them.

    Args:
        dataset: as `find_source` gives it, with the samples of the cache.
        progress: told how many of how many samples were looked at.

    Raises:
        CacheError: a shard that cannot be read.
    """
    report, done = SourceReport(), 0
    fields = [f for name in RECORDED for f in built_fields(cache, name)]
    samples = {sample.sample_id: sample for sample in dataset.samples}
    take = partial(take_stamps, kinds={kind for f in fields for kind in source_kinds(f)})
    with ThreadPoolExecutor(THREADS) as pool:
        for k in range(cache.num_shards):
            told = dict(_read_shard(fields, k, cache.shard_ids(k).tolist()))
            if any(files.recorded or files.absent for files in told.values()):
                for sample_id, now in zip(told, pool.map(take, (samples[i] for i in told)), strict=True):
                    _compare(report, sample_id, told[sample_id], now)
            else:
                report.not_recorded += sum(files.lacks_stamps for files in told.values())
            done += len(told)
            progress(done, len(samples))
    return report


def source_kinds(field: Field) -> tuple[str, ...]:
    """The kinds of files that a skeleton or strip variant was made from."""
    return (SKELETON,) if field.field == "skeleton" else strip_sources(field.settings["crop"])


def _read_shard(fields: list[Field], index: int, sample_ids: list[str]) -> Iterator[tuple[str, _Files]]:
    parts = {f: f.read_shard(index, [], check="never") for f in fields if f.marker(index) is not None}
    for n, sample_id in enumerate(sample_ids):
        files = _Files()
        for each, part in parts.items():
            stamps = read_stamps(part.sources[n]) if part.sources is not None else {}
            status = part.status[n]
            if stamps:
                files.recorded[each.name] = stamps
            if status == "absent":
                files.absent.add(SKELETON if each.field == "skeleton" else VIDEO)
            elif status == "ok" and not stamps:
                files.lacks_stamps = True
        yield sample_id, files


def _compare(report: SourceReport, sample_id: str, files: _Files, now: dict[str, str]) -> None:
    changed: set[str] = set()
    gone: set[str] = set()
    known: set[str] = set()
    for name, stamps in files.recorded.items():
        known |= stamps.keys()
        gone |= stamps.keys() - now.keys()
        other = {kind for kind, stamp in stamps.items() if now.get(kind, stamp) != stamp}
        if other:
            changed |= other
            report.changed_rows.add((name, sample_id))
    new = (files.absent - known) & now.keys()
    if changed:
        report.changed[sample_id] = sorted(changed)
    elif gone:
        report.vanished[sample_id] = sorted(gone)
    elif files.lacks_stamps:
        report.not_recorded += 1
    elif new:
        report.appeared[sample_id] = sorted(new)
    else:
        report.unchanged += 1
