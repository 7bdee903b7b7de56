"""DeGCN and Shift-GCN, whose channels read between frames, as their papers and releases state them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_train.backbones.degcn import GROUPS, DeformableTemporalConv, GroupedTopologyConv
from mmcl_train.backbones.shiftgcn import TimeShift, TimeShiftConv


def grouped_topology(unit: GroupedTopologyConv, x: Tensor) -> Tensor:
    """DeGCN's graph unit with the release's grouped convolutions, relations of every frame averaged after."""
    shape = (GROUPS, unit.adjacency.shape[0], -1)
    q, p = (
        F.conv2d(x, conv.weight.unsqueeze(-1), conv.bias, groups=GROUPS).mean(dim=2)
        for conv in (unit.query, unit.key)
    )
    difference = torch.tanh(q.unsqueeze(-1) - p.unsqueeze(-2))
    refine = unit.refine
    refined = F.conv2d(difference, refine.weight.unsqueeze(-1), refine.bias, groups=refine.groups)
    graphs = unit.alpha * refined.unflatten(1, shape) + unit.adjacency[:, None]
    values = unit.value(x).unflatten(1, shape)
    return unit.norm(torch.einsum("ngkcuv,ngkctv->ngctu", graphs, values).flatten(1, 2))


def deformable(unit: DeformableTemporalConv, x: Tensor) -> Tensor:
    """Every sample read at its own places, all stacked, and a convolution over the stack."""
    last = x.shape[2] - 1
    steps = torch.arange(0, last + 1, unit.stride, dtype=unit.offsets.dtype)
    samples = []
    for offset in unit.offsets:
        times = steps + offset
        before = times.detach().floor()
        fraction = (times - before)[:, None]
        low, high = (x[:, :, frame.clamp(0, last).long()] for frame in (before, before + 1))
        samples.append(low * (1 - fraction) + high * fraction)
    return unit.mix(torch.stack(samples, dim=2)).squeeze(2)


def time_shift(unit: TimeShift, x: Tensor) -> Tensor:
    """Shift-GCN's learnt displacement: the four neighbours of a place weighed and added, zero outside."""
    n, _, length, joints = x.shape
    half = 0.0 if unit.stride == 1 else 0.5
    places = torch.arange(-(-length // unit.stride), dtype=unit.frame_step.dtype) * unit.stride + half
    down = places + unit.frame_step[:, None]  # (C, T')
    right = torch.arange(joints, dtype=unit.joint_step.dtype) + unit.joint_step[:, None]  # (C, V)
    total = torch.zeros((), dtype=x.dtype)
    for frame in (down.detach().floor(), down.detach().floor() + 1):
        frame_weight = (1 - (down - frame).abs()) * ((frame >= 0) & (frame < length))
        rows = frame.clamp(0, length - 1).long()[None, :, :, None].expand(n, -1, -1, joints)
        read = x.gather(2, rows) * frame_weight[:, :, None]
        for joint in (right.detach().floor(), right.detach().floor() + 1):
            joint_weight = (1 - (right - joint).abs()) * ((joint >= 0) & (joint < joints))
            columns = joint.clamp(0, joints - 1).long()[None, :, None].expand_as(read)
            total = total + read.gather(3, columns) * joint_weight[:, None]
    return total


def time_shift_conv(unit: TimeShiftConv, x: Tensor) -> Tensor:
    """Shift-GCN's temporal unit: norm, shift, 1×1 convolution, ReLU, strided shift, norm."""
    y = time_shift(unit.shift_in, unit.norm_in(x))
    y = F.relu(F.conv2d(y, unit.mix.weight[..., None, None], unit.mix.bias))
    return unit.norm_out(time_shift(unit.shift_out, y))


METHODS = (
    (GroupedTopologyConv, "forward", grouped_topology),
    (DeformableTemporalConv, "forward", deformable),
    (TimeShiftConv, "forward", time_shift_conv),
)
