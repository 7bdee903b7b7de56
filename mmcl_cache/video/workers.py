"""Worker processes with a deadline a task: one that hangs or dies costs one task at most two tries, never the build.

Video libraries hang while holding the interpreter lock, so a thread cannot be timed out and a process must be
killed from outside. Each worker has a pipe of its own: a queue shared by all would stay locked for ever if a
process were killed while holding it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Pipe
from multiprocessing.reduction import ForkingPickler
from types import TracebackType
from typing import Any, Generic, TypeVar

from mmcl_cache.video.worker_dispatch import Crew, Dispatch, Result
from mmcl_cache.video.worker_process import describe_failure

__all__ = ["Result", "TaskPool"]

T = TypeVar("T")
R = TypeVar("R")


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
        self._initializer, self._initargs = initializer, initargs
        # What a connection itself pickles with; here and now, so that the error meets whoever made the pool.
        setup = (
            ForkingPickler.dumps((function, initializer, initargs, 2 * deadline_s + 60)) if workers else b""
        )
        pending = max(4 * workers, 1) if max_pending is None else max_pending
        self._crew = Crew(bytes(setup), workers, deadline_s, pending)
        self._running = False

    def __enter__(self) -> TaskPool[T, R]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers; the pool can be used again."""
        for worker in self._crew.workers:
            worker.dismiss()
        self._crew.workers.clear()

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
            source = self._run_here(tasks) if self._crew.count == 0 else self._run_in_workers(tasks, ordered)
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
                Dispatch(self._crew, iter(tasks), results, bell, stop, taken).loop()
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
