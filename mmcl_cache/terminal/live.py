"""The live display of a terminal: a bar for each stage of each run, lines above it that stay."""

from __future__ import annotations

import sys
import threading
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from mmcl_cache.terminal.display import Display, JsonLines, Lines
from mmcl_cache.terminal.events import Event, describe, describe_speed
from mmcl_cache.terminal.modes import chosen_mode, speaks


class Live(Display):
    """Rewritten in place on standard error; NO_COLOR and terminals without UTF-8 are rich's to honour."""

    def __init__(self) -> None:
        # What does not fit is cut: rich's own ellipsis cannot be written in every encoding.
        cut = Column(no_wrap=True, overflow="crop")
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=cut),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[count]}", markup=False, table_column=cut, justify="right"),
            TextColumn("{task.fields[speed]}", markup=False, table_column=cut),
            console=Console(stderr=True, force_terminal=True),
            # Piped results must not be drawn into the display.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._tasks: dict[tuple[int, str], TaskID] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        with self._lock:
            if event["event"] == "progress":
                self._move(event)
                return
            self._progress.console.print(describe(event), markup=False, highlight=False, soft_wrap=True)
            if event["event"] == "run" and event["state"] != "planned":
                for key in [key for key in self._tasks if key[0] == event["run"]]:
                    self._progress.remove_task(self._tasks.pop(key))

    def _move(self, event: Event) -> None:
        key = (event.get("run", 0), event["stage"])
        mark = f"[{event['run']}] " if "run" in event else ""
        name = mark + (event["text"] or event["stage"])
        count = "" if event["text"] else f"{event['done']}/{event['total']}"
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(name, total=event["total"], count=count, speed="")
        self._progress.update(
            self._tasks[key],
            completed=event["done"],
            total=event["total"],
            description=name,
            count=count,
            speed=describe_speed(event),
        )


def open_display() -> Display:
    """The display of the mode that was asked for; silent in processes that are not a launcher's first."""
    if not speaks():
        return Display()
    displays: dict[str, type[Display]] = {"live": Live, "lines": Lines, "json": JsonLines, "quiet": Display}
    return displays[chosen_mode()]()
