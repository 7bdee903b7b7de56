"""Several runs at a time, each in a process of its own, on data that lie in memory once.

The resident tensors are handed over as shared memory (or, on a GPU, as handles of the same memory): a run more costs
its model and its process, not the data. A run that dies takes no other with it, and all end when this process does.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess, parent_process
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

from mmcl_cache.store import UserError
from mmcl_cache.terminal.display import Display
from mmcl_cache.terminal.events import Event
from mmcl_train.config import RunConfig

from .inputs import Inputs
from .interrupt import Interrupted, InterruptFlag
from .trainer import train

GLANCE = 0.5  # seconds between two looks at whether a stop was asked for


@dataclass(frozen=True)
class Job:
    """One run to do. `number` is what its lines begin with."""

    number: int
    config: RunConfig
    folder: Path


@dataclass(frozen=True)
class Answer:
    """What became of a job: result.json's content, or why there is none."""

    result: dict[str, Any] | None = None
    error: str = ""


def run_jobs(
    jobs: Sequence[Job],
    load: Callable[[RunConfig], Inputs],
    at_once: int,
    display: Display,
    ended: Callable[[Job, Answer], None],
) -> dict[int, Answer]:
    """Run them all, `at_once` at a time; answers by number.

    Args:
        jobs: in the order they are begun.
        load: resident data of a config; runs that need the same data must get the same tensors.
        at_once: processes; the processor's threads are shared out among them.
        display: shows what the runs tell, each under its number.
        ended: called as each run ends.

    Raises:
        Interrupted: a stop was asked for; every run that was going on has saved itself.
    """
    threads = max(1, torch.get_num_threads() // at_once)
    answers: dict[int, Answer] = {}
    waiting, going = list(jobs), dict[Connection, tuple[Job, BaseProcess]]()
    with InterruptFlag(display.note) as interrupt:
        told = False
        while going or (waiting and not interrupt.asked):
            while waiting and len(going) < at_once and not interrupt.asked:
                job = waiting.pop(0)
                try:
                    connection, process = _start(job, load(job.config), threads)
                except UserError as error:
                    answers[job.number] = Answer(error=str(error))
                    ended(job, answers[job.number])
                    continue
                going[connection] = (job, process)
            if interrupt.asked and not told:
                told = True
                for _, process in going.values():
                    process.terminate()  # the run's own interrupt: it saves itself and ends
            ready = wait(list(going), GLANCE)
            for connection in [each for each in going if each in ready]:
                job, process = going[connection]
                told_by_run = _receive(connection, process)
                if not isinstance(told_by_run, Answer):
                    display.show({**told_by_run, "run": job.number})
                    continue
                del going[connection]
                answers[job.number] = told_by_run
                ended(job, told_by_run)
    if interrupt.asked:
        done = sum(answer.result is not None for answer in answers.values())
        raise Interrupted(
            f"stopped with {done} of {len(jobs)} runs finished. The same command goes on from here"
        )
    return answers


def _start(job: Job, inputs: Inputs, threads: int) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process: BaseProcess = context.Process(target=_work, args=(job, inputs, threads, theirs), daemon=True)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited until the run listens for itself
    try:
        process.start()
    except RuntimeError as error:
        raise UserError(
            f"the data cannot be shared between processes ({str(error).splitlines()[0]}); give /dev/shm more room, or "
            "train one run at a time"
        ) from None
    finally:
        signal.signal(signal.SIGINT, before)
    theirs.close()
    return ours, process


def _receive(connection: Connection, process: BaseProcess) -> Event | Answer:
    try:
        answer: Event | Answer = connection.recv()
        if not isinstance(answer, Answer):
            return answer
    except EOFError:  # it died without a word
        process.join()
        code = process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        answer = Answer(error=f"its process ended with {how}; what it said last stands above")
    process.join()
    connection.close()
    return answer


def _work(job: Job, inputs: Inputs, threads: int, connection: Connection) -> None:
    """The process of one run."""
    os.setpgrp()  # Ctrl-C reaches the first process alone, which asks each run to stop once
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        answer = Answer(result=train(job.config, inputs, job.folder, Relay(connection)))
    except (Interrupted, UserError) as error:
        answer = Answer(error=str(error))
    connection.send(answer)


def _end_with_parent() -> None:
    """A run whose sweep was killed must not train on and hold its folder."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)


class Relay(Display):
    """Sends what a run tells to the process that shows it."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def show(self, event: Event) -> None:
        # A signal that comes in the middle of a message must not write another into it.
        if self._lock.acquire(blocking=False):
            try:
                self._connection.send(event)
            finally:
                self._lock.release()
