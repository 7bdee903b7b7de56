"""Several processes make one cache: the same bytes as one makes, and one that dies costs its open shards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcl_cache.store import open_cache, verify

Files = Callable[[Path], dict[str, bytes]]
LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2")


GPU_LAUNCH = (
    *LAUNCH[:3],
    "--multi_gpu",
    "--num_machines",
    "1",
    "--num_processes",
    "2",
    "--main_process_port",
    "0",
)


def children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in listed.stdout.split()]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 90.0) -> None:
    limit = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)


@pytest.mark.slow
def test_two_launched_processes_make_what_one_makes(
    builder: Any, made: Path, files: Files, tmp_path: Path
) -> None:
    output = builder.run(tmp_path / "cache", "--workers", "1", launcher=LAUNCH)
    assert "one model process each on cpu, cpu" in output and "made 5 shards" in output
    assert files(tmp_path / "cache") == files(made)
    assert verify(open_cache(tmp_path / "cache")) == []


def start_two_ranks(builder: Any, folder: Path) -> tuple[Path, subprocess.Popen[str], list[int]]:
    """A build by two ranks that has two shards or more and is at work still.

    All of it takes a second or two: where this process was not given the processor in time, it is tried again.
    """
    for attempt in range(5):
        cache = folder / f"cache-{attempt}"
        process = builder.start(cache, "--workers", "1", launcher=GPU_LAUNCH)
        wait_for(lambda cache=cache: len(list(cache.glob("*/default/0*.json"))) >= 2, process)
        ranks = children(process.pid)
        if len(ranks) == 2:
            return cache, process, ranks
        process.communicate(timeout=90)
    pytest.fail("both ranks were done before they were looked at, five times")


@pytest.mark.slow
def test_killed_rank_loses_its_open_shards_and_one_process_completes_them(
    builder: Any, made: Path, files: Files, tmp_path: Path
) -> None:
    cache, process, ranks = start_two_ranks(builder, tmp_path)
    os.kill(ranks[-1], signal.SIGKILL)
    process.communicate(timeout=90)
    assert process.returncode != 0
    kept = files(cache)
    assert 2 <= len(kept) < 20 and kept.items() <= files(made).items()
    assert "made " in builder.run(cache, "--workers", "0")
    assert files(cache) == files(made)
    assert not list(cache.rglob(".tmp-*"))
