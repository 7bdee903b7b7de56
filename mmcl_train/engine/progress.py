"""What a person watches: epoch, losses, clips a second, time left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmcl_cache.terminal.clock import Clock, format_rate, format_seconds
from mmcl_cache.terminal.display import Display
from mmcl_cache.terminal.events import progress_event


class Progress:
    """Tells a display how far one run is.

    Args:
        total: clips of the whole run.
        done: clips trained before this start.
        display: where it is shown; a silent one for processes other than the first.
    """

    def __init__(self, total: int, done: int, display: Display) -> None:
        self._total, self._done, self._display = total, done, display
        self._clock = Clock(done)
        self.update(done, "")

    def update(self, done: int, text: str, **numbers: Any) -> None:
        """`done` clips of the run are trained; `text` and `numbers` say more of this point."""
        self._done = done
        self._display.show(progress_event("train", done, self._total, self._clock, "clips", text, **numbers))

    def epoch(self, record: Mapping[str, Any], epochs: int) -> None:
        """An epoch is over; `record` is its line of metrics.jsonl."""
        rate, left = self._clock.rate(self._done), self._clock.left(self._done, self._total)
        measured = "".join(
            f"  {name[:-5]} {value:.1%}" for name, value in record.items() if name.endswith("_top1")
        )
        text = f"epoch {record['epoch']}/{epochs}  loss {record['loss']:.3f}{measured}"
        if left is not None:
            text += f"  {format_rate(rate, 'clips')}  {format_seconds(left)} left"
        times = {"rate": round(rate, 2), "seconds_left": None if left is None else round(left, 1)}
        self._display.show({"event": "epoch", "epochs": epochs, **record, **times, "text": text})

    def line(self, text: str) -> None:
        """A line that stays."""
        self._display.note(text)

    def seconds(self) -> float:
        """Since this start."""
        return self._clock.seconds()
