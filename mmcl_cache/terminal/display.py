"""Where events go: nowhere, lines of text, lines of JSON. The live display is in `live`."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

from mmcl_cache.terminal.events import Event, describe, to_json

LINE_SECONDS = 10.0  # between two lines about the same work


class Display:
    """Shows nothing: the quiet mode, and what the others are made from. To be used as a context manager."""

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    def show(self, event: Event) -> None:
        """Take one event; from any thread."""

    def note(self, text: str) -> None:
        """Something a person may want to know."""
        self.show({"event": "note", "text": text})


class Lines(Display):
    """Plain lines on standard error; progress at most every ten seconds, a line for each run."""

    def __init__(self) -> None:
        # A signal handler may speak while its own thread is speaking.
        self._lock = threading.RLock()
        self._fresh: dict[int, dict[str, Event]] = {}
        self._said = time.monotonic()

    def show(self, event: Event) -> None:
        with self._lock:
            if event["event"] != "progress":
                self._print(describe(event))
                return
            self._fresh.setdefault(event.get("run", 0), {})[event["stage"]] = event
            if time.monotonic() - self._said >= LINE_SECONDS:
                self._said = time.monotonic()
                for stages in self._fresh.values():
                    self._print("; ".join(describe(each) for each in stages.values()))
                self._fresh.clear()

    def _print(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class JsonLines(Display):
    """One JSON object a line on standard error; of progress the first, the last and one in ten seconds of a stage."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._said: dict[tuple[int, str], float] = {}

    def show(self, event: Event) -> None:
        with self._lock:
            if event["event"] == "progress":
                key, now = (event.get("run", 0), event["stage"]), time.monotonic()
                is_new = now - self._said.get(key, -LINE_SECONDS) >= LINE_SECONDS
                if not is_new and event["done"] < event["total"]:
                    return
                self._said[key] = now
            print(to_json(event), file=sys.stderr, flush=True)


class Numbered(Display):
    """Another display's events of one run among several."""

    def __init__(self, display: Display, run: int) -> None:
        self._display, self._run = display, run

    def show(self, event: Event) -> None:
        self._display.show({**event, "run": self._run})
