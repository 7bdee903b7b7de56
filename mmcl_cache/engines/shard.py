"""How one shard is made. Every engine makes its shards here.

    recorded rows ─▶ windows of batch_size strips ─▶ a thread a window: opened, prepared, the models ─▶ one writer

A window is begun as soon as its strips are there, so that models need not wait for a shard to be full. Its strips are
opened once for all models; it waits for its turn at a model when it is prepared, not before, so that a fast model has
windows waiting. Windows are cut by row number alone, and the models see the very bytes that the strip shard holds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType

import torch
from PIL import Image

from mmcl_cache.encoders import Batches, EncodedRow, Encoder, PreparingEncoder
from mmcl_cache.engines.disk import disk_trouble
from mmcl_cache.engines.job import Job
from mmcl_cache.engines.report import BuildReport
from mmcl_cache.fields.features import make_feature_rows, open_strips, pack_strips
from mmcl_cache.fields.recording import RecordedRows, check_source
from mmcl_cache.store import Columns, Ragged, Row
from mmcl_cache.terminal.board import ProgressBoard

Rows = list[Row]
Window = Future[tuple[dict[str, Rows], BuildReport]]
"""The rows of a window by field, when they are made, and what that cost."""


class ShardMaker:
    """The threads of one process that make shards; to be used as a context manager.

    Args:
        job: what is built.
        board: told of every strip a model has seen.
        threads: of torch, for each window.
    """

    def __init__(self, job: Job, board: ProgressBoard, threads: int = 1) -> None:
        self.job = job
        self._board = board
        self._spoken = threading.Lock()
        self._batch_size = dict.fromkeys(job.encoders, job.config.batch_size)
        self._turns = {name: threading.BoundedSemaphore(job.turns(name)) for name in job.encoders}
        # Torch's number of threads is each thread's own.
        start: Callable[[], None] = partial(torch.set_num_threads, threads)
        self._windows = ThreadPoolExecutor(job.windows(), "window", initializer=start)
        self._writer = ThreadPoolExecutor(1, "writer")

    def __enter__(self) -> ShardMaker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error nothing new begins; what runs in a thread cannot be stopped, so it is waited for.
        for pool in (self._windows, self._writer):
            pool.shutdown(wait=True, cancel_futures=error is not None)

    def make_shard(
        self, index: int, wanted: Sequence[str], arrivals: Iterable[RecordedRows]
    ) -> Future[BuildReport]:
        """Make the wanted fields of one shard.

        Args:
            wanted: fields of this shard that are not complete.
            arrivals: the recorded rows of all its samples, in the order of their ids, as they come; empty where
                neither skeleton nor strip is wanted.

        Returns:
            what is done when every wanted field is on disk.

        Raises:
            SourceError: the source is gone.
            UserError: (or the future does) a model cannot go on, the disk is full.
        """
        features = [name for name in wanted if name in self.job.encoders]
        windows: list[Window] = []
        size = self.job.config.batch_size
        recorded: list[RecordedRows] = []
        makes_strips = "strip" in wanted

        def send(strips: Callable[[], Columns]) -> None:
            windows.append(self._windows.submit(self._encode, features, strips))

        for rows in arrivals:
            check_source(self.job.config.source, rows)
            recorded.append(rows)
            if makes_strips and features and len(recorded) % size == 0:
                send(partial(_recorded_strips, recorded[-size:]))
        for rows in recorded:  # once more: a folder that is being removed is not empty at first
            check_source(self.job.config.source, rows)
        if makes_strips and features and len(recorded) % size:
            send(partial(_recorded_strips, recorded[-(len(recorded) % size) :]))
        if features and not makes_strips:
            stored = self.job.fields["strip"].read_shard(index)
            for start in range(0, len(stored), size):
                send(partial(_slice, stored, start, start + size))
        return self._writer.submit(self._write_shard, index, wanted, recorded, windows)

    def _encode(
        self, names: Sequence[str], strips: Callable[[], Columns]
    ) -> tuple[dict[str, Rows], BuildReport]:
        """The rows of one window, of each field; what they cost."""
        started, in_models = time.thread_time(), 0.0
        report = BuildReport()
        columns = strips()
        opened = open_strips(columns)
        made: dict[str, Rows] = {}
        for name in names:
            encoder = _InTurn(self.job.encoders[name], self._turns[name])
            batches = Batches(encoder, self._batch_size[name])
            made[name] = make_feature_rows(batches, columns, opened)
            # Memory that ran out once would run out again.
            self._batch_size[name] = min(self._batch_size[name], batches.batch_size)
            report.model_seconds[name] = encoder.model_seconds
            in_models += encoder.cpu_seconds
            with self._spoken:
                self._board.advance(name, len(made[name]))
        report.prepare_seconds = max(time.thread_time() - started - in_models, 0.0)
        return made, report

    def _write_shard(
        self, index: int, wanted: Sequence[str], recorded: list[RecordedRows], windows: list[Window]
    ) -> BuildReport:
        report = BuildReport(shards_made=1)
        try:
            for name in wanted:
                if name in self.job.encoders:
                    rows = [row for window in windows for row in window.result()[0][name]]
                else:
                    rows = [getattr(each, name) for each in recorded]
                report.write_seconds += self._write(name, index, rows)
            for window in windows:
                report.add(window.result()[1])
        except BaseException:
            for window in windows:
                window.cancel()
            raise
        return report

    def _write(self, name: str, index: int, rows: Rows) -> float:
        started = time.perf_counter()
        field = self.job.fields[name]
        try:
            field.write_shard(index, rows)
        except OSError as error:
            what = f"{field.folder}: shard {index} could not be written"
            raise disk_trouble(self.job.cache.path, what, error) from None
        return time.perf_counter() - started


class _InTurn:
    """An encoder for one window: its input is made at once, its model when there is a turn; and the seconds in it.

    Attributes:
        model_seconds: CPU time on a processor, wall time on a GPU.
        cpu_seconds: of those, of this thread.
    """

    def __init__(self, encoder: Encoder, turns: threading.BoundedSemaphore) -> None:
        self.settings, self.columns, self.info = encoder.settings, encoder.columns, encoder.info
        self.model_seconds = self.cpu_seconds = 0.0
        self._encoder, self._turns = encoder, turns
        self._clock = time.thread_time if str(self.info.get("device", "cpu")) == "cpu" else time.perf_counter

    def encode(self, images: Sequence[Image.Image]) -> list[EncodedRow]:
        if isinstance(self._encoder, PreparingEncoder):
            return self._run(partial(self._encoder.encode_prepared, self._encoder.prepare(images)))
        return self._run(partial(self._encoder.encode, images))

    def _run(self, model: Callable[[], list[EncodedRow]]) -> list[EncodedRow]:
        with self._turns:
            started, used = self._clock(), time.thread_time()
            try:
                return model()
            finally:
                self.model_seconds += self._clock() - started
                self.cpu_seconds += time.thread_time() - used


def _recorded_strips(recorded: Sequence[RecordedRows]) -> Columns:
    """Strips as they will be stored, before they are."""
    return pack_strips([each.strip for each in recorded if each.strip is not None])


def _slice(stored: Columns, start: int, stop: int) -> Columns:
    """Rows [start, stop) of a shard of strips."""

    def cut(ragged: Ragged) -> Ragged:
        offsets = ragged.offsets[start : stop + 1]
        return Ragged(ragged.flat[offsets[0] : offsets[-1]], offsets - offsets[0], ragged.is_text)

    return Columns(
        stored.sample_ids[start:stop],
        stored.status[start:stop],
        cut(stored.reasons),
        {"jpeg": cut(stored["jpeg"])},
    )
