"""Ctrl-C and SIGTERM: asked for once, the loop ends at the next step and saves; twice, it ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from mmcl_cache.terminal.events import note
from mmcl_cache.terminal.stopping import Stopped


class Interrupted(Stopped):
    """The run was asked to stop and has saved itself; the message says how to go on."""


class InterruptFlag:
    """`asked` becomes true at the first SIGINT or SIGTERM while the context is open.

    Args:
        say: told that it was heard.
    """

    def __init__(self, say: Callable[[str], None] = note) -> None:
        self.asked, self._say = False, say
        self._before: dict[int, Any] = {}

    def __enter__(self) -> InterruptFlag:
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._say("stopping after this step and saving; once more to stop at once")
