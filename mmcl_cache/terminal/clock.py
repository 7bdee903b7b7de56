"""How long a piece of work has gone on, how fast it goes, how long it will take."""

from __future__ import annotations

import time


class Clock:
    """Rate and time left of one stage, from its own beginning.

    Args:
        done: what was done before; it counts for the time left, not for the rate.
    """

    def __init__(self, done: int = 0) -> None:
        self._began_at = done
        self._started = time.monotonic()

    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._started

    def rate(self, done: int) -> float:
        """Units a second; 0 before anything is done."""
        return max(done - self._began_at, 0) / max(self.seconds(), 1e-9)

    def left(self, done: int, total: int) -> float | None:
        """Seconds left at this rate; None while nothing is known."""
        rate = self.rate(done)
        return max(total - done, 0) / rate if rate > 0 else None


def format_seconds(seconds: float) -> str:
    """12s, 3m05s, 2h07m."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def format_rate(rate: float, unit: str = "") -> str:
    """12.3 clips/s; slow work by the minute or the hour."""
    for factor, period in ((1, "s"), (60, "min"), (3600, "h")):
        if rate * factor >= 1 or period == "h":
            break
    return f"{rate * factor:.1f}{f' {unit}' if unit else ''}/{period}"
