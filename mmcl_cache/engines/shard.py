"""How one shard is made. Every engine makes its shards here.

    recorded rows ─▶ windows of batch_size strips ─▶ the models, in threads ─▶ one writer, in a thread

A window goes to the models as soon as its strips are there, so that they need not wait for a shard to be full. Windows
are cut by row number alone, and the models see the very bytes that the strip shard holds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any

import torch
from PIL import Image

from mmcl_cache.encoders import Batches, EncodedRow, Encoder
from mmcl_cache.engines.disk import disk_trouble
from mmcl_cache.engines.job import Job
from mmcl_cache.engines.report import BuildReport
from mmcl_cache.fields.features import make_feature_rows, pack_strips
from mmcl_cache.fields.recording import RecordedRows, check_source
from mmcl_cache.store import Columns, Ragged, Row
from mmcl_cache.terminal.board import ProgressBoard

Rows = list[Row]


class ShardMaker:
    """The threads of one process that make shards; to be used as a context manager.

    Args:
        job: what is built.
        board: told of every strip a model has seen.
        threads: of torch, for each batch.
    """

    def __init__(self, job: Job, board: ProgressBoard, threads: int = 1) -> None:
        self.job = job
        self._board = board
        self._spoken = threading.Lock()
        self._batch_size = dict.fromkeys(job.encoders, job.config.batch_size)
        self._encoders = {name: _Timed(encoder) for name, encoder in job.encoders.items()}
        # Torch's number of threads is each thread's own.
        start: Callable[[], None] = partial(torch.set_num_threads, threads)
        self._lanes = {
            name: ThreadPoolExecutor(job.lanes(name), f"model-{name}", initializer=start)
            for name in job.encoders
        }
        self._writer = ThreadPoolExecutor(1, "writer")

    def __enter__(self) -> ShardMaker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error nothing new begins; what runs in a thread cannot be stopped, so it is waited for.
        for pool in (*self._lanes.values(), self._writer):
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
        windows: dict[str, list[Future[tuple[Rows, BuildReport]]]] = {name: [] for name in features}
        size = self.job.config.batch_size
        recorded: list[RecordedRows] = []
        makes_strips = "strip" in wanted

        def send(strips: Callable[[], Columns]) -> None:
            for name in features:
                windows[name].append(self._lanes[name].submit(self._encode, name, strips))

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

    def _encode(self, name: str, strips: Callable[[], Columns]) -> tuple[Rows, BuildReport]:
        """The rows of one window; what it cost."""
        encoder = self._encoders[name]
        batches = Batches(encoder, self._batch_size[name])
        started = encoder.start()
        rows = make_feature_rows(batches, strips(), self.job.config.batch_size)
        # Memory that ran out once would run out again.
        self._batch_size[name] = min(self._batch_size[name], batches.batch_size)
        model, prepare = encoder.stop(started)
        with self._spoken:
            self._board.advance(name, len(rows))
        return rows, BuildReport(prepare_seconds=prepare, model_seconds={name: model})

    def _write_shard(
        self,
        index: int,
        wanted: Sequence[str],
        recorded: list[RecordedRows],
        windows: dict[str, list[Future[tuple[Rows, BuildReport]]]],
    ) -> BuildReport:
        report = BuildReport(shards_made=1)
        try:
            for name in wanted:
                if name in windows:
                    made = [window.result() for window in windows[name]]
                    for _, spent in made:
                        report.add(spent)
                    rows = [row for part, _ in made for row in part]
                else:
                    rows = [getattr(each, name) for each in recorded]
                report.write_seconds += self._write(name, index, rows)
        except BaseException:
            for window in (w for each in windows.values() for w in each):
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


class _Timed:
    """An encoder that knows how long each thread spent in it, and how much of that in making its input."""

    def __init__(self, encoder: Encoder) -> None:
        self.settings, self.columns, self.info = encoder.settings, encoder.columns, encoder.info
        self._encoder = encoder
        self._spent = threading.local()
        self._clock = time.thread_time if str(self.info.get("device", "cpu")) == "cpu" else time.perf_counter
        prepare = getattr(encoder, "prepare", None)
        if prepare is not None and not isinstance(prepare, _TimedPreparation):
            encoder.prepare = _TimedPreparation(prepare)  # type: ignore[attr-defined]

    def encode(self, images: Sequence[Image.Image]) -> list[EncodedRow]:
        started = self._clock()
        prepare = getattr(self._encoder, "prepare", None)
        if isinstance(prepare, _TimedPreparation):
            prepare.begin(self._clock)
        try:
            return self._encoder.encode(images)
        finally:
            self._spent.model += self._clock() - started
            if isinstance(prepare, _TimedPreparation):
                self._spent.prepare += prepare.seconds()

    def start(self) -> float:
        self._spent.model = self._spent.prepare = 0.0
        return self._clock()

    def stop(self, started: float) -> tuple[float, float]:
        """(seconds in the model, seconds before and around it) of this thread since `start`."""
        total, model = self._clock() - started, self._spent.model - self._spent.prepare
        return model, max(total - model, 0.0)


class _TimedPreparation:
    """An encoder's `prepare`, timed a thread."""

    def __init__(self, prepare: Callable[..., Any]) -> None:
        self._prepare = prepare
        self._here = threading.local()

    def begin(self, clock: Callable[[], float]) -> None:
        self._here.clock, self._here.seconds = clock, 0.0

    def seconds(self) -> float:
        return self._here.seconds

    def __call__(self, images: Sequence[Image.Image]) -> Any:
        clock = getattr(self._here, "clock", None)
        if clock is None:
            return self._prepare(images)
        started = clock()
        try:
            return self._prepare(images)
        finally:
            self._here.seconds += clock() - started


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
