"""Shift-GCN: instead of graphs, channels that wander between joints, and between frames by learnt steps."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_train.backbones.blocks import FRAME_RULES, TEN_BLOCKS, TenBlockBackbone, block_rules, residual_rules
from mmcl_train.backbones.initialise import init_conv_fan_out
from mmcl_train.backbones.published import KeyRule, rules
from mmcl_train.backbones.temporal import norm_rules


def shift_channels(x: Tensor, joint_step: Tensor, frame_step: Tensor, stride: int = 1) -> Tensor:
    """Read every channel at its own displacement, linearly between frames and joints, zero outside.

    `y[n, c, t, v] = x[n, c, t·stride + frame_step[c] (+ 0.5 where stride is 2), v + joint_step[c]]`.
    The half frame keeps the reading between the two frames that a stride of 2 joins. The gradient is
    that of the reading; the release replaces it in its CUDA code (the frame step's by 0.01 times its
    sign, the joint step's by zero), which is no gradient and is not done here.

    Channels take the place of the batch of `grid_sample`: its "images" are (T, V), its grid one per
    channel.

    Source: Shift-GCN (CVPR 2020), adaptive temporal shift.

    Args:
        x: (N, C, T, V).
        joint_step, frame_step: (C,), in joints (storage order) and frames.
        stride: 1 or 2, along T.

    Returns:
        (N, C, ceil(T / stride), V).
    """
    length, joints = x.shape[2:]
    offset = 0.0 if stride == 1 else 0.5
    places = torch.arange(-(-length // stride), device=x.device, dtype=frame_step.dtype) * stride + offset
    frame = places + frame_step[:, None]  # (C, T')
    joint = torch.arange(joints, device=x.device, dtype=joint_step.dtype) + joint_step[:, None]  # (C, V)
    # grid_sample counts from the outer edge of the first cell, -1, to that of the last, 1.
    frame = ((2 * frame + 1) / length - 1)[:, :, None].expand(-1, -1, joints)
    joint = ((2 * joint + 1) / joints - 1)[:, None, :].expand_as(frame)
    grid = torch.stack((joint, frame), dim=-1)  # (C, T', V, 2)
    # Positions do not fit into 8 bits of mantissa: under autocast the reading stays in their precision.
    shifted = F.grid_sample(x.transpose(0, 1).to(grid.dtype), grid, align_corners=False)
    return shifted.transpose(0, 1).to(x.dtype)


def joint_rotation(channels: int, num_joints: int, direction: int) -> Tensor:
    """Indices into a flat (V·C,) that give channel c of joint v from joint v + direction·c (cyclic)."""
    joint = torch.arange(num_joints)[:, None]
    channel = torch.arange(channels)[None, :]
    return ((joint + direction * channel) % num_joints * channels + channel).flatten()


class JointShiftConv(nn.Module):
    """Rotate channels over joints, weigh, mix channels, rotate back; norm per joint and channel; residual.

    Source: Shift-GCN (CVPR 2020), non-local spatial shift with its adaptive mask.
    """

    rotate: Tensor
    rotate_back: Tensor

    def __init__(self, in_channels: int, out_channels: int, num_joints: int) -> None:
        super().__init__()
        self.register_buffer("rotate", joint_rotation(in_channels, num_joints, 1))
        self.register_buffer("rotate_back", joint_rotation(out_channels, num_joints, -1))
        self.mask = nn.Parameter(torch.zeros(1, num_joints, in_channels))
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(1, 1, out_channels))
        self.norm = nn.BatchNorm1d(num_joints * out_channels)
        self.down: nn.Module = nn.Identity()
        if in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1)
            init_conv_fan_out(conv)
            self.down = nn.Sequential(conv, nn.BatchNorm2d(out_channels))
        nn.init.normal_(self.weight, 0.0, math.sqrt(1.0 / out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T, V)."""
        n, _, t, v = x.shape
        y = x.permute(0, 2, 3, 1).reshape(n * t, -1).index_select(1, self.rotate)  # (N·T, V·C)
        y = y.unflatten(1, (v, -1)) * (1 + self.mask.tanh())
        y = (y @ self.weight + self.bias).flatten(1).index_select(1, self.rotate_back)
        y = self.norm(y).view(n, t, v, -1).permute(0, 3, 1, 2)
        return F.relu(y + self.down(x))


class TimeShift(nn.Module):
    """Learnt displacements of every channel, in [-1, 1) frames at first and none along the joints."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.joint_step = nn.Parameter(torch.empty(channels).uniform_(-1e-8, 1e-8))
        self.frame_step = nn.Parameter(torch.empty(channels).uniform_(-1.0, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C, ceil(T / stride), V)."""
        return shift_channels(x, self.joint_step, self.frame_step, self.stride)


class TimeShiftConv(nn.Module):
    """Norm – shift – 1×1 convolution – ReLU – shift (strided) – norm."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.norm_in = nn.BatchNorm2d(channels)
        self.shift_in = TimeShift(channels)
        self.mix = nn.Linear(channels, channels)
        self.shift_out = TimeShift(channels, stride)
        self.norm_out = nn.BatchNorm2d(channels)
        nn.init.kaiming_normal_(self.mix.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C, ceil(T / stride), V)."""
        # Between the shifts memory is (C, N, T, V), as `grid_sample` writes and reads it: the 1×1
        # convolution is one matrix product there, and no copy is made.
        y = self.shift_in(self.norm_in(x)).transpose(0, 1)
        mixed = torch.addmm(self.mix.bias.unsqueeze(1), self.mix.weight, y.flatten(1))
        y = F.relu(mixed, inplace=True).unflatten(1, y.shape[1:]).transpose(0, 1)
        return self.norm_out(self.shift_out(y))


def shift_rules(ours: str, published: str) -> list[KeyRule]:
    """The tensors of one block."""
    joints, time = f"{published}.gcn1", f"{published}.tcn1"
    names = {
        "rotate": "shift_in",
        "rotate_back": "shift_out",
        "mask": "Feature_Mask",
        "weight": "Linear_weight",
        "bias": "Linear_bias",
    }
    made = [KeyRule(rf"{ours}\.graph\.{name}", f"{joints}.{theirs}") for name, theirs in names.items()]
    for shift in ("shift_in", "shift_out"):
        made.append(KeyRule(rf"{ours}\.temporal\.{shift}\.joint_step", f"{time}.{shift}.xpos"))
        made.append(KeyRule(rf"{ours}\.temporal\.{shift}\.frame_step", f"{time}.{shift}.ypos"))
    for name, theirs in (("norm", "bn"), (r"down\.0", "down.0"), (r"down\.1", "down.1")):
        made.extend(norm_rules(rf"{ours}\.graph\.{name}", f"{joints}.{theirs}"))
    for name, theirs in (("norm_in", "bn"), ("mix", "temporal_linear"), ("norm_out", "bn2")):
        made.extend(norm_rules(rf"{ours}\.temporal\.{name}", f"{time}.{theirs}"))
    made.extend(residual_rules(ours, published))
    return made


class ShiftGCN(TenBlockBackbone):
    """One stream of Shift-GCN with non-local joint shift and adaptive temporal shift.

    As published T must be even at every stride; here an odd T keeps its last frame, as the residual does.

    Source: Cheng, Zhang, He, Chen, Cheng, Lu, CVPR 2020.
    """

    publication = "Shift-GCN (CVPR 2020, Cheng et al.)"
    year = 2020
    published_rules = rules(FRAME_RULES, block_rules(len(TEN_BLOCKS), "l{number}", shift_rules))

    def create_parts(self, in_channels: int, out_channels: int, stride: int) -> tuple[nn.Module, nn.Module]:
        graph = JointShiftConv(in_channels, out_channels, self.layout.num_joints)
        return graph, TimeShiftConv(out_channels, stride)
