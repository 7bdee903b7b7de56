from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from mmcl_train.cli import cli
from mmcl_train.engine import inputs
from tests.mmcl_train.engine.learnable_cache import SMALL, make_cache

ROOT = Path(__file__).resolve().parents[3]
BACKBONES, STREAMS, SEEDS = ("ctrgcn", "stgcn"), ("joint", "bone"), (1, 2)
NAMES = [f"learnable-xsub-{b}-{s}-seed{seed}" for b in BACKBONES for s in STREAMS for seed in SEEDS]


def options(cache: Path, out: Path, streams: tuple[str, ...] = STREAMS) -> list[str]:
    settings = [part for setting in (*SMALL, "schedule.epochs=2") for part in ("--set", setting)]
    axes = [part for b in BACKBONES for part in ("--backbone", b)]
    axes += [part for s in streams for part in ("--stream", s)]
    axes += [part for seed in SEEDS for part in ("--seed", str(seed))]
    return ["--cache", str(cache), "--out", str(out), *axes, *settings]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def kill_once_a_run_is_finished(cache: Path, out: Path) -> str:
    """Start the sweep two runs at a time, SIGKILL it once one has a result and both told an epoch; what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mmcl_train.cli", "sweep", *options(cache, out), "--jobs", "2"]
    log = out.parent / "printed.txt"

    def is_far_enough() -> bool:
        told = log.read_text()
        return bool(list(out.glob("*/result.json"))) and "[1] epoch" in told and "[2] epoch" in told

    with log.open("w") as printed:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=printed, stderr=subprocess.STDOUT
        )
        until = time.monotonic() + 240
        while not is_far_enough() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    return log.read_text()


def test_a_killed_sweep_goes_on_from_one_load_and_its_runs_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, out = make_cache(tmp_path / "cache").path, tmp_path / "runs"
    out.mkdir()
    printed = kill_once_a_run_is_finished(cache, out)
    finished = {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/result.json")}
    assert 1 <= len(finished) < len(NAMES), printed
    assert "[1] epoch" in printed and "[2] epoch" in printed, "two runs at a time, each line with its number"
    time.sleep(1)  # its runs end with it, and let go of their folders

    loads: list[int] = []
    load_split = inputs.load_split
    monkeypatch.setattr(
        inputs, "load_split", lambda *parts: loads.append(len(parts[1])) or load_split(*parts)
    )
    torch.set_num_threads(1)
    done = call("sweep", *options(cache, out))
    assert done.exit_code == 0, done.output
    assert len(loads) == 3, "train, val and test, once for all runs"
    assert sorted(path.name for path in out.iterdir()) == sorted(NAMES)
    assert all((out / name / "result.json").stat().st_mtime_ns == at for name, at in finished.items())
    assert all(f"{b} {s}" in done.output for b in BACKBONES for s in STREAMS) and "±" in done.output

    alone = call("sweep", *options(cache, tmp_path / "alone", ("joint",)))
    assert alone.exit_code == 0, alone.output
    for name in NAMES[:2] + NAMES[4:6]:  # begun two at a time and killed; begun by the second start
        weights = [(folder / name / "model.safetensors").read_bytes() for folder in (out, tmp_path / "alone")]
        assert weights[0] == weights[1], name

    runs = [out / name for name in NAMES]
    together = call("ensemble", *runs[::2], "--weights", "fit", "--out", tmp_path / "ensemble.npz")
    assert together.exit_code == 0 and "ensemble" in together.output, together.output
    against = call("compare", *runs[:2], "--against", *runs[2:4])
    assert against.exit_code == 0 and "pairs of equal seeds" in against.output, against.output
    mixed = call("compare", tmp_path / "ensemble.npz", "--against", runs[0])
    assert mixed.exit_code == 0, mixed.output
