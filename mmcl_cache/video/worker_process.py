"""What runs inside a worker process of ``workers.TaskPool``."""

from __future__ import annotations

import signal
import time
from multiprocessing.connection import Connection
from typing import Any

from mmcl_cache.errors import UserError


def serve_tasks(descriptor: int) -> None:
    """Answer tasks until the pipe closes, which it also does when the parent dies.

    The first message is (function, initializer or None, its arguments, own limit); every other one is a task.
    Messages back: ("ready" | "unfit" | "value" | "error", value or text, seconds, CPU seconds).

    The own limit is the seconds after which the process ends itself in the middle of a task. The parent kills it
    long before; the alarm is for a worker that hangs when its parent is gone. It has no handler, so the kernel
    acts on it even where a library holds the interpreter lock.

    Args:
        descriptor: of this end of the pipe.
    """
    pipe: Connection = Connection(descriptor)
    # A batch system sends SIGTERM to every process of a job; the build then closes this one's pipe.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    try:
        try:
            function, initializer, initargs, own_limit = pipe.recv()
            if initializer is not None:
                initializer(*initargs)
        except (EOFError, ConnectionError):
            raise
        except Exception as error:
            pipe.send(("unfit", describe_failure(error), 0.0, 0.0))
            return
        pipe.send(("ready", None, 0.0, 0.0))
        while True:
            task = pipe.recv()
            signal.setitimer(signal.ITIMER_REAL, own_limit)
            start, cpu = time.perf_counter(), time.process_time()
            try:
                answer: tuple[str, Any] = ("value", function(task))
            except Exception as error:
                answer = ("error", describe_failure(error))
            signal.setitimer(signal.ITIMER_REAL, 0)
            spent = (time.perf_counter() - start, time.process_time() - cpu)
            try:
                pipe.send((*answer, *spent))
            except (BrokenPipeError, ConnectionError):
                raise
            except (
                Exception
            ) as error:  # a value that cannot be pickled is the function's fault, not the pipe's
                pipe.send(("error", describe_failure(error), *spent))
    except (EOFError, ConnectionError, BrokenPipeError):
        return


def describe_failure(error: BaseException) -> str:
    """One line: a UserError's own words, else the type as well, since nobody wrote them for a person."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
