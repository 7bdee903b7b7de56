"""The epoch that is timed is the one a run trains: its steps, its test, its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from mmcl_train.cli import cli
from mmcl_train.config import RunConfig
from mmcl_train.engine import floors
from mmcl_train.engine.bench_data import SHARD, write_random_cache
from mmcl_train.engine.bench_epoch import Epoch, EpochWatch, bench_epoch
from mmcl_train.engine.bench_variants import CLIPS, EPOCHS
from mmcl_train.engine.stopwatch import Times
from mmcl_train.settings import override

SMALL = ["model.width=0.125", "clip.length=8", "train.batch=8", "train.check_every=2"]


@pytest.fixture(autouse=True)
def small_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(floors.MATRIX, "cpu", 128)
    monkeypatch.setitem(floors.COPIED, "cpu", 1 << 20)


def test_whole_runs_are_trained_with_and_without_the_method(tmp_path: Path) -> None:
    cache = write_random_cache(tmp_path / "cache", 124).path
    config = override(RunConfig(), SMALL)
    lines = list(bench_epoch(config, cache, tmp_path / "runs", torch.device("cpu"), 1))
    rows = {line[2:16].strip(): line[16:].split() for line in lines if line.startswith("  ")}
    for name in ("co-learning", "skeleton-only"):
        run = tmp_path / "runs" / name
        assert (run / "result.json").is_file() and list((run / "checkpoints").glob("step-*"))
        assert '"val_top1"' in (run / "metrics.jsonl").read_text()
        steps, test, saved, epoch = (float(rows[name][at]) for at in (2, 3, 4, 5))
        assert abs(steps + test + saved - epoch) <= 0.16  # a digit each
        assert float(rows[name][7]) >= 0 and float(rows[name][9]) > 0
    assert '"co_learning": false' in (tmp_path / "runs" / "skeleton-only" / "result.json").read_text()
    assert any("one epoch of 121 clips, then 1 tested" in line for line in lines)
    assert any(line.startswith("  co-learning : skeleton-only") for line in lines)
    assert "under 20 minutes" in lines[-1] and "5,777 clips/s" in lines[-1]


def test_warm_up_is_paid_once_in_a_whole_training() -> None:
    epoch = Epoch(1000, 1.0, Times(5.0, 4.0), Times(14.0, 20.0), Times(0.5, 1.0), 0.5, 2.0, "cpu")
    assert epoch.wall == 15.0 and epoch.rate == 100.0 and epoch.settled == Times(10.0, 17.0)
    assert epoch.hours == pytest.approx((EPOCHS * CLIPS / 100 + 5) / 3600)


def test_watch_keeps_progress_and_the_epochs_end_and_no_other_event() -> None:
    watch = EpochWatch()
    watch.note("going on")
    watch.show({"event": "progress", "done": 0})
    watch.show({"event": "progress", "done": 40})
    watch.show({"event": "epoch", "text": "epoch 1/1"})
    assert [done for done, _ in watch.marks] == [0, 40, 40]
    assert [clocks.wall for _, clocks in watch.marks] == sorted(clocks.wall for _, clocks in watch.marks)


def test_random_data_are_written_in_more_shards_than_one(tmp_path: Path) -> None:
    """So that no more than a shard of them is in memory."""
    assert write_random_cache(tmp_path / "cache", SHARD + 1).num_shards == 2


def test_command_passes_settings_on(tmp_path: Path) -> None:
    settings = [word for setting in [*SMALL, "train.precision=bf16"] for word in ("--set", setting)]
    options = ["--epoch", "--samples", "16", "--batch", "8", "--rounds", "1", "--device", "cpu"]
    done = CliRunner().invoke(cli, ["bench", *options, *settings])
    assert done.exit_code == 0, done.output
    assert "then 0 tested" in done.output
    assert "width 0.125, 8 frames" in done.output and "batch 8, bf16" in done.output
