"""Commands in children forked from one process that has imported everything, and what is done to them.

A start costs milliseconds instead of the seconds that importing torch takes, and the child is a process like any
other: it is killed with SIGKILL, its files and locks are its own. What goes wrong inside it (a call that fails, a
process that dies at the n-th of them) is put around functions of the child alone; the product knows nothing of it.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

Command = Callable[[], None]
Spell = Callable[[], None]
"""Done in the child before its command."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or minus the signal; what it printed; CPU s of its process."""

    code: int
    output: str
    seconds: float

    @property
    def told(self) -> str:
        """The last line it printed."""
        return (self.output.strip().splitlines() or [""])[-1]

    def trouble(self, code: int, words: str = "") -> str:
        """ "" where it ended with this code and without a traceback, its last line holding these words."""
        if "Traceback" in self.output or self.code != code or words not in self.told:
            wanted = f"exit {code}" + (f" and {words!r}" if words else "")
            return f"{wanted} expected, came exit {self.code}: {self.output[-1500:].strip()}"
        return ""


class Child:
    """A forked process that runs one command; what it prints goes to a file."""

    def __init__(self, command: Command, log: Path, spells: Sequence[Spell] = ()) -> None:
        self._log = log
        self.pid = os.fork()
        if self.pid == 0:
            _become(command, log, spells)

    def kill(self, after: float = 0.0) -> None:
        """SIGKILL as it has used so many CPU seconds, unless it ends before.

        CPU seconds, since a busy machine changes how long a command takes, and hardly how much it does.
        """
        process = psutil.Process(self.pid)
        while self.is_running() and used_seconds(process) < after:
            time.sleep(0.002)
        os.kill(self.pid, signal.SIGKILL)

    def wait_until_stopped(self) -> bool:
        """Until it stops itself (true) or ends (false)."""
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        return found is not None and found.si_code == os.CLD_STOPPED

    def is_running(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def wait(self) -> Ended:
        _, status, usage = os.wait4(self.pid, 0)
        output = self._log.read_text(encoding="utf-8", errors="replace")
        return Ended(os.waitstatus_to_exitcode(status), output, usage.ru_utime + usage.ru_stime)


def run(command: Command, log: Path, spells: Sequence[Spell] = (), kill_after: float | None = None) -> Ended:
    """A command from its start to its end; killed after so many CPU seconds where they are given."""
    child = Child(command, log, spells)
    if kill_after is not None:
        child.kill(kill_after)
    return child.wait()


def used_seconds(process: psutil.Process) -> float:
    """CPU seconds of a process, those of its children left out; 0 of one that is gone."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _become(command: Command, log: Path, spells: Sequence[Spell]) -> None:
    """In the child: the command's exit code is the process's. Never returns."""
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for spell in spells:
            spell()
        command()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@dataclass(frozen=True)
class Point:
    """Calls of a function: those of `owner.name`, from the `number`-th on (1 is the first)."""

    owner: Any
    name: str
    number: int = 1


def before(point: Point, act: Callable[[], object], lasting: bool = False) -> Spell:
    """Do something as the n-th call begins; with `lasting`, as every later one does too."""

    def cast() -> None:
        real, count = getattr(point.owner, point.name), _Counter()

        def instead(*arguments: Any, **named: Any) -> Any:
            number = count()
            if number == point.number or (lasting and number > point.number):
                act()
            return real(*arguments, **named)

        setattr(point.owner, point.name, instead)

    return cast


def after(point: Point, act: Callable[..., None]) -> Spell:
    """Do something as the n-th call has ended; told the call's arguments."""

    def cast() -> None:
        real, count = getattr(point.owner, point.name), _Counter()

        def instead(*arguments: Any, **named: Any) -> Any:
            found = real(*arguments, **named)
            if count() == point.number:
                act(*arguments)
            return found

        setattr(point.owner, point.name, instead)

    return cast


def die(*arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop(*arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def cut_and_die(path: Path, *arguments: object) -> None:
    """What a kill in the middle of writing a file leaves: half of it."""
    os.truncate(path, os.path.getsize(path) // 2)
    die()


def fail(number: int) -> Callable[[], None]:
    """What a system call that fails raises, by its error number."""

    def act() -> None:
        raise OSError(number, os.strerror(number))

    return act


FULL, BROKEN = errno.ENOSPC, errno.EIO


class _Counter:
    """Counts calls of several threads."""

    def __init__(self) -> None:
        self._count, self._lock = 0, threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self._count += 1
            return self._count


def count_calls(
    points: dict[str, Point], command: Command, report: Callable[[dict[str, int]], object]
) -> Command:
    """The command, reporting in its child how often each function was called."""

    def run_counted() -> None:
        counters = {name: _Counter() for name in points}
        for name, point in points.items():
            before(Point(point.owner, point.name), counters[name], lasting=True)()
        try:
            command()
        finally:
            report({name: counter() - 1 for name, counter in counters.items()})

    return run_counted
