"""The device of a run: found by name, refused in one line, and made the process's current one."""

from __future__ import annotations

import pytest
import torch

from mmcl_cache.store import UserError
from mmcl_train.engine.environment import choose_device


@pytest.fixture
def made_current(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """A machine of two GPUs; the devices that were made current."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    return current


@pytest.mark.parametrize(
    ("name", "expected"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
)
def test_a_gpu_becomes_the_current_one(made_current: list[torch.device], name: str, expected: str) -> None:
    device = choose_device(name)
    assert device == torch.device(expected)
    assert made_current == ([device] if device.type == "cuda" else [])


def test_each_process_of_a_launcher_takes_its_own(
    made_current: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto") == torch.device("cuda:1") == made_current[-1]


@pytest.mark.parametrize(("name", "why"), [("cuda:2", "has 2 CUDA devices"), ("gpu", "is no device")])
def test_a_device_that_is_not_here_is_one_line(made_current: list[torch.device], name: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as refusal:
        choose_device(name)
    assert "\n" not in str(refusal.value) and made_current == []
