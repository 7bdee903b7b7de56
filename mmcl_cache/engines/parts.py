"""Several processes on one machine, each with a device of its own, and parts that know of each other by number only."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from mmcl_cache.config import BuildConfig
from mmcl_cache.engines.disk import tell_disk_errors
from mmcl_cache.engines.job import on_device
from mmcl_cache.engines.ranks import SAYINGS, RankStopped, run_rank
from mmcl_cache.engines.report import BuildReport
from mmcl_cache.errors import UserError


@dataclass(frozen=True)
class Part:
    """Part `index` of `count`: shards index, index + count, …"""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """ "2/8" is the third of eight.

        Raises:
            UserError: something else.
        """
        index, slash, count = text.partition("/")
        if slash and index.isdigit() and count.isdigit() and int(index) < int(count):
            return cls(int(index), int(count))
        raise UserError(f"--part {text}: say I/N with I from 0 to N - 1, such as 0/8")

    def owns(self, shard: int) -> bool:
        return shard % self.count == self.index


def list_devices(device: str) -> list[str]:
    """The devices that get a model process each: every GPU where `auto` finds several, or those with commas between.

    Raises:
        UserError: an empty name among them.
    """
    if device == "auto" and torch.cuda.device_count() > 1:
        return [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    names = [name.strip() for name in device.split(",")]
    if not all(names):
        raise UserError(f"--device {device}: a name is missing between the commas")
    return names


def run_devices(
    config: BuildConfig, devices: list[str], say: Callable[[str], None], quiet: bool
) -> BuildReport:
    """One process a device; shards are shared out before any is begun.

    A process of its own for each GPU, since models in threads of one process would wait for one interpreter lock.

    Raises:
        UserError: one of them met it, or died; the others are stopped, finished shards are kept.
    """
    say(f"  one model process each on {', '.join(devices)}")
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    processes: list[Any] = []
    report = BuildReport()
    try:
        for rank, device in enumerate(devices):
            ours, theirs = context.Pipe()
            mine = on_device(config, device, len(devices))
            process = context.Process(target=_work, args=(theirs, mine, rank, len(devices), quiet))
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        _listen(pipes, devices, report)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(10.0)
            if process.is_alive():
                process.kill()
                process.join()
    return report


def _listen(pipes: list[Connection], devices: list[str], report: BuildReport) -> None:
    """Pass on what rank 0 says, take in what all report, until all have.

    Once the shards are shared out, one that dies does not stop the others.
    """
    open_pipes = dict(zip(pipes, devices, strict=True))
    said, lost = 0, ""
    while open_pipes:
        for pipe in wait(list(open_pipes)):
            assert isinstance(pipe, Connection)
            try:
                kind, value = pipe.recv()
            except (EOFError, ConnectionError):
                device = open_pipes.pop(pipe)
                lost = f"the process of {device} died; finished shards are kept, the same command continues"
                if said < SAYINGS:
                    raise UserError(lost) from None
                continue
            if kind == "say":
                said += 1
                for other in pipes[1:]:
                    with contextlib.suppress(OSError):
                        other.send(value)
            elif kind == "error":
                raise UserError(value)
            elif kind == "done":
                report.add(value)
                del open_pipes[pipe]
    if lost:
        raise UserError(lost)


def _work(pipe: Connection, config: BuildConfig, rank: int, world: int, quiet: bool) -> None:
    """What one of the processes does. It ends when the pipe closes, which it does when the parent dies."""
    heard: list[Any] = []
    came = threading.Condition()

    def listen() -> None:
        while True:
            try:
                value = pipe.recv()
            except (EOFError, OSError):
                os._exit(1)
            with came:
                heard.append(value)
                came.notify()

    def agree(value: Any) -> Any:
        if rank == 0:
            pipe.send(("say", value))
            return value
        with came:
            came.wait_for(lambda: heard)
            return heard.pop(0)

    listener = threading.Thread(target=listen, name="parent", daemon=True)
    listener.start()
    try:
        with tell_disk_errors(config.cache):
            report = run_rank(config, rank, world, agree, quiet)
        pipe.send(("done", report))
    except RankStopped:
        listener.join()  # rank 0 tells why; the parent then closes the pipe, which ends this process
    except UserError as error:
        pipe.send(("error", str(error)))
    except KeyboardInterrupt:
        return
