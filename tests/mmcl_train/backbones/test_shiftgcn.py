"""Shift-GCN's two shifts against their definitions, and the gradient of the learnt one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmcl_train.backbones.shiftgcn import joint_rotation, shift_channels


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def read_plainly(x: Tensor, joint_step: Tensor, frame_step: Tensor, stride: int) -> Tensor:
    """The definition, one number at a time: four neighbours, those outside are zero."""
    n, channels, length, joints = x.shape
    y = torch.zeros(n, channels, -(-length // stride), joints, dtype=x.dtype)
    for c in range(channels):
        down = float(frame_step[c]) + (0.5 if stride == 2 else 0.0)
        right = float(joint_step[c])
        for t in range(y.shape[2]):
            for v in range(joints):
                for source_t in range(length):
                    for source_v in range(joints):
                        weight = max(0.0, 1 - abs(t * stride + down - source_t))
                        weight *= max(0.0, 1 - abs(v + right - source_v))
                        y[:, c, t, v] += weight * x[:, c, source_t, source_v]
    return y


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("length", [6, 5])
def test_shift_reads_between_frames_and_joints_and_zero_outside(stride: int, length: int) -> None:
    x, joint_step, frame_step = random(2, 4, length, 3), random(4, seed=1), 2 * random(4, seed=2)
    expected = read_plainly(x, joint_step, frame_step, stride)
    torch.testing.assert_close(shift_channels(x, joint_step, frame_step, stride), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradient_of_the_shift_is_right_for_input_and_positions(stride: int) -> None:
    inputs = (random(2, 3, 6, 4), 0.5 * random(3, seed=1), 1.5 * random(3, seed=2))
    for value in inputs:
        value.requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: shift_channels(*given, stride), inputs)


def test_no_displacement_leaves_single_precision_almost_as_it_is() -> None:
    x, none = random(1, 2, 64, 25).float(), torch.full((2,), 1e-8)
    torch.testing.assert_close(shift_channels(x, none, none), x, rtol=0, atol=1e-4)


def test_one_joint_and_one_frame_are_shifted_too() -> None:
    x = random(1, 2, 1, 1)
    step = torch.tensor([0.25, -0.5], dtype=torch.float64)
    expected = x * (1 - step.abs())[:, None, None]
    torch.testing.assert_close(shift_channels(x, torch.zeros_like(step), step), expected)


def test_channels_rotate_over_all_joints_and_back() -> None:
    joints, channels = 5, 7
    flat = torch.arange(joints * channels)
    there = flat[joint_rotation(channels, joints, 1)].view(joints, channels)
    assert there[2, 4] == ((2 + 4) % joints) * channels + 4
    assert torch.equal(there.flatten()[joint_rotation(channels, joints, -1)], flat)
