"""Shards made by this process: decode processes work ahead, models and writing in threads."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from itertools import islice
from typing import cast

from mmcl_cache.datasets import Sample
from mmcl_cache.engines.job import RECORDED, Job, Pending, decode_workers
from mmcl_cache.engines.report import BuildReport
from mmcl_cache.engines.shard import ShardMaker
from mmcl_cache.fields.recording import RecordedRows, Recorder
from mmcl_cache.terminal.board import ProgressBoard
from mmcl_cache.video.workers import Result, TaskPool

Results = Generator[Result[RecordedRows], None, None]
# Shards that are recorded and wait for models or disk. Bounds the memory, whatever the data set's size.
OPEN_SHARDS = 2
# Samples a worker may be ahead; a slow one then holds up nobody else for long.
AHEAD = 16


def make_shards(job: Job, pending: Pending, quiet: bool = False) -> BuildReport:
    """Make these shards, in this process.

    Raises:
        UserError: a model cannot go on, the disk is full; shards made so far are kept.
    """
    report = BuildReport(shards_found=job.cache.num_shards - len(pending))
    started = time.monotonic()
    with (
        _board(job, pending, quiet) as board,
        job.torch_threads() as threads,
        ShardMaker(job, board, threads) as maker,
        closing(_begin_shards(job, pending, maker, board, report)) as begun,
    ):
        unfinished: deque[Future[BuildReport]] = deque()
        for future in begun:
            unfinished.append(future)
            _take_in(unfinished, report, OPEN_SHARDS)
        _take_in(unfinished, report, 0)
    report.wall_seconds = time.monotonic() - started
    return report


def _begin_shards(
    job: Job, pending: Pending, maker: ShardMaker, board: ProgressBoard, report: BuildReport
) -> Generator[Future[BuildReport], None, None]:
    """Begin one shard after another: first those whose strips are there, they need no decoding."""
    to_record = {k: names for k, names in pending.items() if set(names) & set(RECORDED)}
    for k, names in pending.items():
        if k not in to_record:
            yield maker.make_shard(k, names, ())
    if not to_record:
        return
    recorder = job.recorder([name for names in to_record.values() for name in names])
    samples = [s for k in to_record for s in job.samples(k)]
    workers = decode_workers(job.config)
    ahead = AHEAD * max(workers, 1)
    with (
        TaskPool(recorder, workers, job.config.deadline, max_pending=ahead) as pool,
        closing(cast(Results, pool.run(samples, ordered=True))) as results,
    ):
        arrivals = _record(results, samples, recorder, board, report)
        for k, names in to_record.items():
            yield maker.make_shard(k, names, islice(arrivals, len(job.samples(k))))


def _record(
    results: Iterable[Result[RecordedRows]],
    samples: list[Sample],
    recorder: Recorder,
    board: ProgressBoard,
    report: BuildReport,
) -> Iterator[RecordedRows]:
    """The rows of every sample in turn, as they come."""
    coming = iter(results)
    for sample in samples:
        started = time.monotonic()
        result = next(coming)
        report.wait_decode_seconds += time.monotonic() - started
        report.samples += 1
        report.decode_seconds += result.cpu_seconds
        board.advance("decode")
        yield result.value or recorder.failed(sample, result.error or "")


def _take_in(unfinished: deque[Future[BuildReport]], report: BuildReport, allowed: int) -> None:
    """Wait until no more than `allowed` shards are unfinished; an error of any of them is raised here."""
    started = time.monotonic()
    while unfinished and (len(unfinished) > allowed or unfinished[0].done()):
        report.add(unfinished.popleft().result())
    report.wait_model_seconds += time.monotonic() - started


def _board(job: Job, pending: Pending, quiet: bool) -> ProgressBoard:
    def samples(names: Iterable[str]) -> int:
        return sum(len(job.cache.shard_ids(k)) for k, wanted in pending.items() if set(wanted) & set(names))

    totals = {"decode": samples(RECORDED)}
    totals |= {name: samples((name,)) for name in job.encoders}
    return ProgressBoard({stage: n for stage, n in totals.items() if n}, quiet)
