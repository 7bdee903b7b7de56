"""The line a person watches: epoch, losses, clips a second, time left."""

from __future__ import annotations

import sys
import time
from typing import TextIO

PLAIN_SECONDS = 30.0  # between two lines where the output is no terminal


def format_seconds(seconds: float) -> str:
    """12s, 3m05s, 2h07m."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress:
    """Rewrites one line on a terminal; elsewhere writes plain lines, not often.

    Args:
        total: clips of the whole run.
        done: clips trained before this start.
        quiet: say nothing (processes other than the first).
    """

    def __init__(self, total: int, done: int, quiet: bool = False, out: TextIO | None = None) -> None:
        self._total, self._done, self._began_at = total, done, done
        self._start = self._last = time.monotonic()
        self._out = out or sys.stdout
        self._live = self._out.isatty()
        self._quiet = quiet

    def update(self, done: int, text: str) -> None:
        """Show `text` with rate and time left, `done` clips of the run being trained."""
        self._done = done
        now = time.monotonic()
        if self._quiet or (not self._live and now - self._last < PLAIN_SECONDS):
            return
        self._last = now
        self._print(f"{text}  {self.rate():.1f} clips/s  {self.left()} left", end="" if self._live else "\n")

    def line(self, text: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self._last = time.monotonic()
            self._print(text, end="\n")

    def seconds(self) -> float:
        """Since this start."""
        return time.monotonic() - self._start

    def rate(self) -> float:
        """Clips a second since this start."""
        return (self._done - self._began_at) / max(self.seconds(), 1e-9)

    def left(self) -> str:
        """Time left at this rate."""
        rate = self.rate()
        return format_seconds((self._total - self._done) / rate) if rate > 0 else "?"

    def _print(self, text: str, end: str) -> None:
        clear = "\r\x1b[2K" if self._live else ""
        self._out.write(f"{clear}{text}{end}")
        self._out.flush()
