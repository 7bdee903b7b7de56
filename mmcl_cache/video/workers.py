"""Worker processes with a deadline a task: one that hangs or dies costs one task at most two tries, never the build.

Video libraries hang while holding the interpreter lock, so a thread cannot be timed out and a process must be
killed from outside. Each worker has a pipe of its own: a queue shared by all would stay locked for ever if a
process were killed while holding it.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import Any, Generic, TypeVar

from mmcl_cache.errors import UserError
from mmcl_cache.video.worker_process import describe_failure

T = TypeVar("T")
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
class _Task:
    index: int
    payload: Any
    tries: int = 0


class _Worker:
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
        self.task: _Task | None = None
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


class TaskPool(Generic[T, R]):
    """Runs a function over tasks in processes of its own; to be used as a context manager.

    Args:
        function: picklable and from a module that can be imported (not the main script), one task → its value.
            What it raises becomes that task's error, and it is not tried again: the same input would raise again.
        workers: processes; 0 runs in this one, without deadlines.
        deadline_s: a task that takes longer is stopped with its process and tried once more, as is one whose
            process dies.
        initializer, initargs: as function, called once in every worker before its first task.
        max_pending: tasks taken from the iterable and not yet handed back; None: 4 a worker. Bounds the memory.

    Raises:
        ValueError: workers < 0, deadline_s ≤ 0, or max_pending < 1.
        pickle.PicklingError, AttributeError: the function or an argument cannot travel to a process.
    """

    def __init__(
        self,
        function: Callable[[T], R],
        workers: int,
        deadline_s: float,
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
        max_pending: int | None = None,
    ) -> None:
        if workers < 0 or deadline_s <= 0 or (max_pending is not None and max_pending < 1):
            raise ValueError(
                f"workers {workers}, deadline {deadline_s} s, max_pending {max_pending}: out of range"
            )
        self._function = function
        self._deadline = deadline_s
        self._count = workers
        self._setup = pickle.dumps((function, initializer, initargs, 2 * deadline_s + 60)) if workers else b""
        self._initializer, self._initargs = initializer, initargs
        self._max_pending = max(4 * workers, 1) if max_pending is None else max_pending
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self._running = False

    def __enter__(self) -> TaskPool[T, R]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers; the pool can be used again."""
        for worker in self._workers:
            worker.dismiss()
        self._workers.clear()

    def run(self, tasks: Iterable[T], ordered: bool = False) -> Iterator[Result[R]]:
        """Results as they come, or in the order of the tasks; exactly one a task.

        The iterable is read ahead, by a thread of its own, no further than ``max_pending`` tasks, so workers
        stay busy while the caller is.

        Raises:
            UserError: workers cannot be started at all.
            RuntimeError: the pool is already running.
            Whatever the iterable raises.
        """
        if self._running:
            raise RuntimeError("a TaskPool runs one iterable of tasks at a time")
        self._running = True
        try:
            source = self._run_here(tasks) if self._count == 0 else self._run_in_workers(tasks, ordered)
            yield from source
        finally:
            self._running = False

    def _run_here(self, tasks: Iterable[T]) -> Iterator[Result[R]]:
        if self._initializer is not None:
            self._initializer(*self._initargs)
        for index, task in enumerate(tasks):
            start, cpu = time.perf_counter(), time.process_time()
            value, error = None, None
            try:
                value = self._function(task)
            except Exception as raised:
                error = describe_failure(raised)
            yield Result(index, value, error, time.perf_counter() - start, time.process_time() - cpu)

    def _run_in_workers(self, tasks: Iterable[T], ordered: bool) -> Iterator[Result[R]]:
        results: queue.SimpleQueue[Result[R] | BaseException | None] = queue.SimpleQueue()
        bell, bell_button = Pipe(duplex=False)
        stop = threading.Event()
        taken = [0]  # results the caller has; written here, read by the thread

        def dispatch() -> None:
            try:
                _Dispatch(self, iter(tasks), results, bell, stop, taken).loop()
                results.put(None)
            except BaseException as error:
                results.put(error)

        thread = threading.Thread(target=dispatch, name="task-pool", daemon=True)
        thread.start()
        held: dict[int, Result[R]] = {}
        due = 0
        try:
            while (result := results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                held[result.index] = result
                ready = [due] if ordered else [result.index]
                while ready and ready[0] in held:
                    yield held.pop(ready[0])
                    due += 1
                    taken[0] += 1
                    with contextlib.suppress(OSError):
                        bell_button.send_bytes(b".")
                    ready = [due] if ordered else []
        finally:
            stop.set()
            with contextlib.suppress(OSError):
                bell_button.send_bytes(b".")
            thread.join()
            bell.close()
            bell_button.close()


class _Dispatch:
    """The loop that hands tasks to idle workers and takes results, deaths and overdue tasks back."""

    def __init__(
        self,
        pool: TaskPool[Any, Any],
        tasks: Iterator[Any],
        results: queue.SimpleQueue[Any],
        bell: Connection,
        stop: threading.Event,
        taken: list[int],
    ) -> None:
        self._pool, self._tasks, self._results = pool, tasks, results
        self._bell, self._stop, self._taken = bell, stop, taken
        self._again: deque[_Task] = deque()
        self._started = 0
        self._finished = False

    def loop(self) -> None:
        pool = self._pool
        try:
            while not self._stop.is_set():
                self._hand_out()
                busy = [w for w in pool._workers if w.task is not None or not w.ready]
                if self._finished and not self._again and not any(w.task for w in pool._workers):
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
                    if worker in pool._workers and (worker.task or not worker.ready) and overdue:
                        if worker.pipe.poll():
                            self._listen(worker)
                        else:
                            self._replace(worker, f"no answer within {self._allow(worker):g} s")
        finally:
            # Whoever is still at work does it for nobody.
            for worker in [w for w in pool._workers if w.task is not None]:
                pool._workers.remove(worker)
                worker.kill()

    def _allow(self, worker: _Worker) -> float:
        return self._pool._deadline if worker.ready else START_SECONDS

    def _hand_out(self) -> None:
        pool = self._pool
        while not self._stop.is_set():
            task = self._next_task()
            if task is None:
                return
            idle = next((w for w in pool._workers if w.ready and w.task is None), None)
            if idle is None:
                self._again.appendleft(task)
                if len(pool._workers) < pool._count:
                    pool._workers.append(_Worker(pool._setup))
                    continue
                return
            task.tries += 1
            idle.task, idle.since = task, time.monotonic()
            try:
                idle.pipe.send(task.payload)
            except (BrokenPipeError, ConnectionError):
                self._replace(idle, "")

    def _next_task(self) -> _Task | None:
        if self._again:
            return self._again.popleft()
        # Pending: taken from the iterable and not yet in the caller's hands.
        if self._finished or self._started - self._taken[0] >= self._pool._max_pending:
            return None
        try:
            payload = next(self._tasks)
        except StopIteration:
            self._finished = True
            return None
        self._started += 1
        return _Task(self._started - 1, payload)

    def _listen(self, worker: _Worker) -> None:
        try:
            kind, value, seconds, cpu = worker.pipe.recv()
        except (EOFError, ConnectionError):
            self._replace(worker, "")
            return
        if kind == "ready":
            worker.ready = True
            self._pool._failed_starts = 0
        elif kind == "unfit":
            self._pool._workers.remove(worker)
            worker.kill()
            raise UserError(f"a decode worker cannot start: {value}")
        elif worker.task is not None:
            task, worker.task = worker.task, None
            value, error = (value, None) if kind == "value" else (None, value)
            self._results.put(Result(task.index, value, error, seconds, cpu))

    def _replace(self, worker: _Worker, reason: str) -> None:
        """Kill a worker; its task is tried again, or reported."""
        self._pool._workers.remove(worker)
        task, was_ready = worker.task, worker.ready
        ending = worker.kill()
        reason = reason or f"the worker process died ({ending})"
        if not was_ready:
            self._pool._failed_starts += 1
            if self._pool._failed_starts >= MAX_FAILED_STARTS:
                raise UserError(f"decode workers cannot start: {reason}")
        if task is None:
            return
        if task.tries < TRIES:
            self._again.append(task)
        else:
            seconds = time.monotonic() - worker.since
            self._results.put(Result(task.index, None, f"{reason}, tried {TRIES} times", seconds))
