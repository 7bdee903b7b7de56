"""Kill a short run at many points, continue it, and compare its end with that of a run left alone.

A process of its own that imports torch once and forks a child for every start, so that a kill costs no import.
Prints one JSON line: {"reference": digest, "ends": {"fsync 3": digest, …}}.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # what the first step of an optimiser imports, once for all children

from mmcl_train.config import RunConfig
from mmcl_train.engine.inputs import InputLoader, resolve
from mmcl_train.engine.trainer import train
from mmcl_train.settings import override
from tests.mmcl_train.engine.learnable_cache import SMALL

RESULTS = ("model.safetensors", "checkpoints/best-val.safetensors", "metrics.jsonl")


def start(cache: Path, out: Path) -> None:
    """One start of the run."""
    torch.set_num_threads(1)
    config = override(
        RunConfig(), [*SMALL, f"data.cache={cache}", "schedule.epochs=2", "train.checkpoint_minutes=0"]
    )
    config = override(config, ["train.check_every=2"])
    loader = InputLoader(cache, torch.device("cpu"))
    config = resolve(config, loader.cache.description)
    train(config, loader.load(config, lambda line: None), out)


def in_child(work: Callable[[], None], kill_after: float | None = None) -> int:
    """Run in a forked child, killed from here after some seconds where given; its wait status."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def dying_at_fsync(number: int, work: Callable[[], None]) -> Callable[[], None]:
    """The work, killed as it makes its n-th fsync: between any two files of a checkpoint, before and after a rename."""

    def run() -> None:
        real, calls = os.fsync, [0]

        def fsync(descriptor: int) -> None:
            calls[0] += 1
            if calls[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            real(descriptor)

        os.fsync = fsync
        work()

    return run


def digest(out: Path) -> str:
    """Of the final weights, the best weights, the metrics and the test scores."""
    content = hashlib.sha256()
    for name in RESULTS:
        content.update((out / name).read_bytes())
    with np.load(out / "scores" / "test-last.npz") as scores:
        content.update(scores["logits"].tobytes())
    return content.hexdigest()


def main(folder: Path, fsyncs: list[int], num_delays: int) -> None:
    """Reference run, then one killed and continued run for each point."""
    cache = folder / "cache"
    began = time.monotonic()
    assert in_child(lambda: start(cache, folder / "reference")) == 0
    seconds = time.monotonic() - began
    delays = np.random.default_rng(7).uniform(0.05, 0.95, num_delays) * seconds
    ends, killed = {}, 0
    for name, point in [(f"fsync {n}", n) for n in fsyncs] + [
        (f"at {delay:.2f} s", delay) for delay in delays
    ]:
        out = folder / name.replace(" ", "-")

        def work(out: Path = out) -> None:
            start(cache, out)

        if isinstance(point, int):
            killed += in_child(dying_at_fsync(point, work)) == signal.SIGKILL
        else:
            killed += in_child(work, kill_after=float(point)) == signal.SIGKILL
        assert in_child(work) == 0, f"the run killed at {name} did not continue"
        ends[name] = digest(out)
    print(
        json.dumps(
            {"reference": digest(folder / "reference"), "ends": ends, "killed": killed, "seconds": seconds}
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]))
