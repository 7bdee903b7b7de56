"""The loop behind ``workers.TaskPool``: hands tasks to processes, takes back results, deaths and overdue tasks."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Generic, TypeVar

from mmcl_cache.errors import UserError

R = TypeVar("R")

START_SECONDS = 120.0
MAX_FAILED_STARTS = 3
_CHILD = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2]); "
    "from mmcl_cache.video.worker_process import serve_tasks; serve_tasks(int(sys.argv[1]))"
)
TRIES = 2


@dataclass(frozen=True)
class Result(Generic[R]):
    """What came of task number ``index``: a value, or an error in one line. Times are of the last try, seconds."""

    index: int
    value: R | None
    error: str | None
    seconds: float
    cpu_seconds: float = 0.0


@dataclass
class Task:
    index: int
    payload: Any
    tries: int = 0


class Worker:
    """A process, its pipe, and what it is doing.

    It is a plain ``python -c`` and not a ``multiprocessing.Process``: that one runs the caller's main module
    again in every child, which would load torch into every decoder, and fork bombs scripts without a guard.
    """

    def __init__(self, setup: bytes) -> None:
        self.pipe, theirs = Pipe()
        try:
            # A session of its own keeps Ctrl-C in a terminal, which reaches the whole group, away from it.
            self.process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(theirs.fileno()), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        finally:
            theirs.close()
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            self.pipe.send_bytes(setup)
        self.ready = False
        self.task: Task | None = None
        self.since = time.monotonic()

    def kill(self) -> str:
        """End it whatever it does; how it ended, in words."""
        self.process.kill()
        code = self.process.wait()
        self.pipe.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def dismiss(self) -> None:
        """End it kindly: it leaves when its pipe closes."""
        self.pipe.close()
        try:
            self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Crew:
    """The workers of a pool and what they are told.

    setup: the pickled (function, initializer, its arguments, own limit). count: workers there may be.
    deadline: seconds a task may take. max_pending: tasks taken and not yet handed back.
    """

    setup: bytes
    count: int
    deadline: float
    max_pending: int
    workers: list[Worker] = field(default_factory=list)
    failed_starts: int = 0


class Dispatch:
    """The loop that hands tasks to idle workers and takes results, deaths and overdue tasks back."""

    def __init__(
        self,
        crew: Crew,
        tasks: Iterator[Any],
        results: queue.SimpleQueue[Any],
        bell: Connection,
        stop: threading.Event,
        taken: list[int],
    ) -> None:
        self._crew, self._tasks, self._results = crew, tasks, results
        self._bell, self._stop, self._taken = bell, stop, taken
        self._again: deque[Task] = deque()
        self._started = 0
        self._finished = False

    def loop(self) -> None:
        crew = self._crew
        try:
            while not self._stop.is_set():
                self._hand_out()
                busy = [w for w in crew.workers if w.task is not None or not w.ready]
                if self._finished and not self._again and not any(w.task for w in crew.workers):
                    return
                pipes = {w.pipe: w for w in busy}
                now = time.monotonic()
                limit = min((w.since + self._allow(w) - now for w in busy), default=None)
                signalled = wait([*pipes, self._bell], None if limit is None else max(0.0, limit))
                for pipe in signalled:
                    if pipe is self._bell:
                        self._bell.recv_bytes()
                    else:
                        self._listen(pipes[pipe])  # type: ignore[index]
                for worker in busy:
                    overdue = worker.since + self._allow(worker) <= time.monotonic()
                    # An answer that came while nobody looked is in time.
                    if worker in crew.workers and (worker.task or not worker.ready) and overdue:
                        if worker.pipe.poll():
                            self._listen(worker)
                        else:
                            self._replace(worker, f"no answer within {self._allow(worker):g} s")
        finally:
            # Whoever is still at work does it for nobody.
            for worker in [w for w in crew.workers if w.task is not None]:
                crew.workers.remove(worker)
                worker.kill()

    def _allow(self, worker: Worker) -> float:
        return self._crew.deadline if worker.ready else START_SECONDS

    def _hand_out(self) -> None:
        crew = self._crew
        while not self._stop.is_set():
            task = self._next_task()
            if task is None:
                return
            idle = next((w for w in crew.workers if w.ready and w.task is None), None)
            if idle is None:
                self._again.appendleft(task)
                if len(crew.workers) < crew.count:
                    crew.workers.append(Worker(crew.setup))
                    continue
                return
            task.tries += 1
            idle.task, idle.since = task, time.monotonic()
            try:
                idle.pipe.send(task.payload)
            except (BrokenPipeError, ConnectionError):
                self._replace(idle, "")

    def _next_task(self) -> Task | None:
        if self._again:
            return self._again.popleft()
        # Pending: taken from the iterable and not yet in the caller's hands.
        if self._finished or self._started - self._taken[0] >= self._crew.max_pending:
            return None
        try:
            payload = next(self._tasks)
        except StopIteration:
            self._finished = True
            return None
        self._started += 1
        return Task(self._started - 1, payload)

    def _listen(self, worker: Worker) -> None:
        try:
            kind, value, seconds, cpu = worker.pipe.recv()
        except (EOFError, ConnectionError):
            self._replace(worker, "")
            return
        if kind == "ready":
            worker.ready = True
            self._crew.failed_starts = 0
        elif kind == "unfit":
            self._crew.workers.remove(worker)
            worker.kill()
            raise UserError(f"a decode worker cannot start: {value}")
        elif worker.task is not None:
            task, worker.task = worker.task, None
            value, error = (value, None) if kind == "value" else (None, value)
            self._results.put(Result(task.index, value, error, seconds, cpu))

    def _replace(self, worker: Worker, reason: str) -> None:
        """Kill a worker; its task is tried again, or reported."""
        self._crew.workers.remove(worker)
        task, was_ready = worker.task, worker.ready
        ending = worker.kill()
        reason = reason or f"the worker process died ({ending})"
        if not was_ready:
            self._crew.failed_starts += 1
            if self._crew.failed_starts >= MAX_FAILED_STARTS:
                raise UserError(f"decode workers cannot start: {reason}")
        if task is None:
            return
        if task.tries < TRIES:
            self._again.append(task)
        else:
            seconds = time.monotonic() - worker.since
            self._results.put(Result(task.index, None, f"{reason}, tried {TRIES} times", seconds))
