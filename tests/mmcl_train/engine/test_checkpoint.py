from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from mmcl_cache.store import UserError
from mmcl_train.engine.checkpoint import (
    Checkpoint,
    list_checkpoints,
    merge_optimiser,
    read_checkpoint,
    remove_unfinished,
    split_optimiser,
    write_checkpoint,
)


def make(step: int) -> Checkpoint:
    model = nn.Linear(2, 3)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    state = {"epoch": 1, "sums": [0.1, 1 / 3], "best": {}}
    return Checkpoint(step, model.state_dict(), {"fam": torch.ones(2)}, optimiser.state_dict(), state)


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    written = make(7)
    read = read_checkpoint(write_checkpoint(tmp_path, written))
    assert read.step == 7 and read.state == written.state
    for name, tensor in written.model.items():
        assert torch.equal(read.model[name], tensor)
    momentum = written.optimiser["state"][0]["momentum_buffer"]
    assert torch.equal(read.optimiser["state"][0]["momentum_buffer"], momentum)
    assert read.optimiser["param_groups"] == written.optimiser["param_groups"]


def test_only_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, make(step))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000002", "step-00000003"]


def test_crash_before_rename_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path, make(1))
    calls: list[int] = []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match=r"step-00000002: could not be written \(No space left"):
        write_checkpoint(tmp_path, make(2))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000001"]
    assert read_checkpoint(list_checkpoints(tmp_path)[0]).step == 1


def test_crash_while_an_old_checkpoint_is_removed_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        write_checkpoint(tmp_path, make(step))

    def crash(path: Path) -> None:
        (path / "model.safetensors").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", crash)
    with pytest.raises(KeyboardInterrupt):  # the end of an epoch writes the same step again
        write_checkpoint(tmp_path, make(2))
    assert read_checkpoint(list_checkpoints(tmp_path)[-1]).step == 1
    monkeypatch.undo()
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_listing_checkpoints_leaves_alone_what_a_running_process_writes(tmp_path: Path) -> None:
    (tmp_path / ".step-00000001.part").mkdir()
    assert list_checkpoints(tmp_path) == []
    assert (tmp_path / ".step-00000001.part").is_dir()


@pytest.mark.parametrize("name", ["state.json", "model.safetensors", "optimiser.safetensors"])
def test_a_cut_file_is_an_error_that_names_the_checkpoint(name: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, make(1))
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="step-00000001"):
        read_checkpoint(path)


def test_optimiser_numbers_and_tensors_come_together_again() -> None:
    state = {
        "state": {0: {"step": torch.tensor(3.0), "count": 2}},
        "param_groups": [{"lr": 0.1, "params": [0]}],
    }
    tensors, numbers = split_optimiser(state)
    assert list(tensors) == ["0.step"]
    assert merge_optimiser(tensors, numbers) == state
