from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mmcl_train.engine.learnable_cache import make_cache

ROOT = Path(__file__).resolve().parents[3]
COLUMNS = ("total", "classification", "contrastive", "refinement")


def start(cache: Path, rank: int, processes: int, port: int, rgb: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    arguments = [str(cache), str(rank), str(processes), str(port), "true", rgb]
    command = [sys.executable, "-m", "tests.mmcl_train.engine.worker_of_two", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def losses(workers: list[subprocess.Popen[str]]) -> list[list[float]]:
    outputs = [worker.communicate(timeout=240) for worker in workers]
    assert all(worker.returncode == 0 for worker in workers), outputs[0][1][-2000:] + outputs[-1][1][-2000:]
    line = next(line for line in outputs[0][0].splitlines() if line.startswith("LOSSES "))
    table: list[list[float]] = json.loads(line.removeprefix("LOSSES "))
    return table


@pytest.mark.parametrize(("rgb", "steps"), [("cached", 20), ("online", 4)])
def test_two_processes_with_half_the_batch_each_have_the_losses_of_one(
    rgb: str, steps: int, tmp_path: Path
) -> None:
    """Steps of gloo, batch norm over all processes, random clips, rows without rgb and text among them."""
    cache = make_cache(tmp_path / "cache", strips=rgb == "online").path
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = losses([start(cache, 0, 1, port, rgb)])
    both = losses([start(cache, rank, 2, port, rgb) for rank in range(2)])
    assert len(alone) == len(both) == steps
    assert alone[0][2] > 0 and alone[0][3] > 0
    for name, column in zip(COLUMNS, range(4), strict=True):
        ours, theirs = [row[column] for row in both], [row[column] for row in alone]
        assert ours == pytest.approx(theirs, abs=1e-5), name
