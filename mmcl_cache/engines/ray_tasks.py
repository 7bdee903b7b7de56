"""What runs on the nodes of a Ray cluster; knows nothing of Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmcl_cache.config import BuildConfig
from mmcl_cache.datasets import Sample
from mmcl_cache.engines.disk import tell_disk_errors
from mmcl_cache.engines.job import Pending, open_job
from mmcl_cache.engines.report import BuildReport
from mmcl_cache.engines.shard import ShardMaker
from mmcl_cache.fields.recording import RecordedRows, Recorder, check_source
from mmcl_cache.plan import scan_dataset
from mmcl_cache.terminal.board import ProgressBoard
from mmcl_cache.video.workers import TaskPool


@dataclass(frozen=True)
class Chunk:
    """Recorded rows of some samples of a shard, in order, and the CPU seconds they took."""

    rows: tuple[RecordedRows, ...]
    seconds: float


class _Decoder:
    """The decode process of a Ray worker, kept for its next task: starting one takes longer than a clip."""

    pool: TaskPool[Sample, RecordedRows] | None = None
    recorder: Recorder | None = None


def record_samples(recorder: Recorder, samples: Sequence[Sample], deadline: float) -> Chunk:
    """Record samples in a process that a hanging one can be killed with.

    Raises:
        SourceError: the source is gone.
    """
    if _Decoder.pool is None or _Decoder.recorder != recorder:
        if _Decoder.pool is not None:
            _Decoder.pool.close()
        _Decoder.pool = TaskPool(recorder, 1, deadline, max_pending=len(samples) + 1)
        _Decoder.recorder = recorder
    results = list(_Decoder.pool.run(samples, ordered=True))
    rows = [r.value or recorder.failed(s, r.error or "") for r, s in zip(results, samples, strict=True)]
    for each in rows:
        check_source(recorder.source, each)
    return Chunk(tuple(rows), sum(r.cpu_seconds for r in results))


class ShardActor:
    """A process with the models open, on a GPU of its own where there are GPUs.

    Raises:
        UserError: as `open_job`.
    """

    def __init__(self, config: BuildConfig) -> None:
        with tell_disk_errors(config.cache):
            self._job = open_job(config, scan_dataset(config))

    def ready(self) -> bool:
        return True

    def pending(self) -> Pending:
        with tell_disk_errors(self._job.config.cache):
            return self._job.pending()

    def make_shard(self, index: int, wanted: tuple[str, ...], *chunks: Chunk) -> BuildReport:
        """Make one shard; what it cost, decoding included."""
        with (
            tell_disk_errors(self._job.config.cache),
            ProgressBoard(dict.fromkeys(self._job.encoders, 0), quiet=True) as board,
            self._job.torch_threads() as threads,
            ShardMaker(self._job, board, threads) as maker,
        ):
            report = maker.make_shard(index, wanted, (row for chunk in chunks for row in chunk.rows)).result()
        report.samples = sum(len(chunk.rows) for chunk in chunks)
        report.decode_seconds = sum(chunk.seconds for chunk in chunks)
        return report
