"""The scaling tables come from epochs, steps and commands that really run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mmcl_cache.store import UserError
from mmcl_train.config import RunConfig
from mmcl_train.engine.bench_data import name_protocol, write_ragged_cache
from mmcl_train.engine.scaling import Sizes, count_kept, scale_clips, scale_inputs, scale_runs, time_commands
from mmcl_train.settings import override

CPU = torch.device("cpu")


def test_epochs_train_on_every_clip_of_each_size(tmp_path: Path) -> None:
    cache = write_ragged_cache(tmp_path / "cache", (16, 40))
    lines = list(scale_clips(override(RunConfig(), []), cache, CPU, Sizes((16, 40), 8, (2,))))
    assert [int(line.split()[0]) for line in lines[2:]] == [16, 40]
    assert cache.description.protocols == (name_protocol(16), name_protocol(40))


def test_sizes_go_up_to_the_samples_and_never_below_a_batch() -> None:
    assert Sizes.up_to(120_000, 200) == Sizes((10_000, 60_000, 120_000), 200, (4, 8, 16))
    assert Sizes.up_to(16, 2).clips == (2, 8, 16)


def test_steps_are_measured_for_every_layout_and_number_of_bodies() -> None:
    lines = list(scale_inputs(CPU, 1, batch=2, frames=8))
    assert [line[2:26].strip() for line in lines[2:]] == [
        *(f"{joints} joints, 2 bodies" for joints in (17, 20, 25, 33)),
        *(f"25 joints, {bodies} bodies" for bodies in (1, 3, 4)),
    ]
    base = next(line for line in lines[2:] if "25 joints, 2 bodies" in line)
    assert base.split()[-2:] == ["1.00", "1.00"]


def test_kept_bytes_are_those_of_the_graph_and_not_of_the_weights() -> None:
    """A ReLU keeps its output, which the second layer keeps too: one piece of memory."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    assert count_kept(model, torch.randn(32, 8)) == 4 * 32 * (8 + 16)


def test_command_that_fails_is_told_in_one_line() -> None:
    with pytest.raises(UserError, match=r"`mmcl-train nonsense` of the bench failed: ."):
        time_commands([["nonsense"]], [{}])


@pytest.mark.slow
def test_runs_side_by_side_and_two_processes_run_as_commands(tmp_path: Path) -> None:
    cache = write_ragged_cache(tmp_path / "cache", (16,))
    lines = list(scale_runs("ctrsgcn", cache, tmp_path, CPU, Sizes((16,), 8, (2,))))
    assert len(lines) == 6 and all(float(line.split()[-2]) > 0 for line in lines[2:])
