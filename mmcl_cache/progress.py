"""How far a long piece of work is, how fast it goes, how long it will take."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_SECONDS = 10.0


class ProgressBoard:
    """A line for each stage: a live display on a terminal, a line of text every ten seconds elsewhere.

    Args:
        totals: stage → how many samples it will handle.
        quiet: say nothing.
    """

    def __init__(self, totals: Mapping[str, int], quiet: bool = False) -> None:
        self._totals = dict(totals)
        self._done = dict.fromkeys(totals, 0)
        self._started = self._said = time.monotonic()
        self._quiet = quiet
        self._live: Progress | None = None
        if sys.stderr.isatty() and not quiet:
            self._live = Progress(
                TextColumn("{task.description:>10}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._tasks = {name: self._live.add_task(name, total=n, rate="") for name, n in totals.items()}

    def __enter__(self) -> ProgressBoard:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def advance(self, stage: str, samples: int = 1) -> None:
        self._done[stage] += samples
        now = time.monotonic()
        rate = self._done[stage] / max(now - self._started, 1e-9)
        if self._live is not None:
            self._live.update(self._tasks[stage], advance=samples, rate=f"{rate:.1f}/s")
        elif not self._quiet and now - self._said >= PLAIN_SECONDS:
            self._said = now
            print(self._line(now), file=sys.stderr, flush=True)

    def _line(self, now: float) -> str:
        parts = []
        for stage, total in self._totals.items():
            done = self._done[stage]
            rate = done / max(now - self._started, 1e-9)
            left = f", {_duration((total - done) / rate)} left" if rate and done < total else ""
            parts.append(f"{stage} {done}/{total} ({rate:.1f}/s{left})")
        return "; ".join(parts)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class StageProgress:
    """One stage whose size is told with the first step; call it with (done, total)."""

    def __init__(self, stage: str) -> None:
        self._stage, self._done = stage, 0
        self._board: ProgressBoard | None = None

    def __enter__(self) -> StageProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.__exit__(kind, error, trace)

    def __call__(self, done: int, total: int) -> None:
        if self._board is None:
            self._board = ProgressBoard({self._stage: total}).__enter__()
        self._board.advance(self._stage, done - self._done)
        self._done = done
