"""Stages of work, shown as `--progress` asks: how far each is, how fast it goes, how long it will take."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType

from mmcl_cache.terminal.clock import Clock
from mmcl_cache.terminal.display import Display
from mmcl_cache.terminal.events import progress_event
from mmcl_cache.terminal.live import open_display


class ProgressBoard:
    """Stages side by side, shown as `--progress` asks.

    Args:
        totals: stage → how many samples it will handle.
        quiet: say nothing, whatever is asked.
        unit: what is counted.
    """

    def __init__(self, totals: Mapping[str, int], quiet: bool = False, unit: str = "") -> None:
        self._totals = dict(totals)
        self._done = dict.fromkeys(totals, 0)
        self._clock, self._unit = Clock(), unit
        self._lock = threading.Lock()
        self._display = Display() if quiet else open_display()

    def __enter__(self) -> ProgressBoard:
        self._display.__enter__()
        for stage in self._totals:
            self.advance(stage, 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.__exit__(kind, error, trace)

    def advance(self, stage: str, samples: int = 1) -> None:
        """So many more of a stage are done; from any thread."""
        with self._lock:
            self._done[stage] += samples
            done, total = self._done[stage], self._totals[stage]
        self._display.show(progress_event(stage, done, total, self._clock, self._unit))


class StageProgress:
    """One stage whose size is told with the first step; call it with (done, total)."""

    def __init__(self, stage: str, unit: str = "") -> None:
        self._stage, self._unit, self._done = stage, unit, 0
        self._board: ProgressBoard | None = None

    def __enter__(self) -> StageProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __call__(self, done: int, total: int) -> None:
        if self._board is None:
            self._board = ProgressBoard({self._stage: total}, unit=self._unit).__enter__()
        self._board.advance(self._stage, done - self._done)
        self._done = done
        if done >= total:  # what follows may show something of its own
            self._close()

    def _close(self) -> None:
        if self._board is not None:
            self._board.__exit__(None, None, None)
            self._board, self._done = None, 0
