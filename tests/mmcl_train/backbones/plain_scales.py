"""MST-GCN, MS-G3D and DualHead-Net as their papers state them: one part, scale and window at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_train.backbones.mggcn import MGGCN
from mmcl_train.backbones.msg3d import SpatialTemporalStage, WindowGraphConv
from mmcl_train.backbones.mstgcn import SCALES, ParallelGraphConv, ParallelTemporalConv

from .plain_layers import aggregate_then_mix, bias_of, part_norm, subset_convolution


def parallel_graph(unit: ParallelGraphConv, x: Tensor, skeleton: Tensor) -> Tensor:
    """MST-GCN where channels change: a graph convolution and a norm a part."""
    weights, biases = unit.mix.weight.chunk(SCALES), bias_of(unit.mix).chunk(SCALES)
    out, size = [], unit.norm.num_features // SCALES
    for s, part in enumerate(x.chunk(SCALES, dim=1)):
        y = subset_convolution(part, skeleton + unit.graphs[s], weights[s], biases[s])
        out.append(part_norm(unit.norm, y, slice(s * size, (s + 1) * size)))
    return torch.cat(out, dim=1)


def parallel_temporal(unit: ParallelTemporalConv, x: Tensor) -> Tensor:
    """MST-GCN where time is strided: a convolution and a norm a part."""
    conv = unit.conv
    weights, biases = conv.weight.chunk(SCALES), bias_of(conv).chunk(SCALES)
    out, size = [], conv.out_channels // SCALES
    for s, part in enumerate(x.chunk(SCALES, dim=1)):
        y = F.conv2d(part, weights[s], biases[s], conv.stride, (conv.kernel_size[0] // 2, 0))
        out.append(part_norm(unit.norm, y, slice(s * size, (s + 1) * size)))
    return torch.cat(out, dim=1)


def window_graph(unit: WindowGraphConv, x: Tensor) -> Tensor:
    """G3D on unfolded windows, a product and a convolution a scale, then one over each window's frames.

    (N, C, T, V) → (N, C', T', V), where ours has time innermost.
    """
    n, channels, _, joints = x.shape
    windows = F.unfold(x, (unit.window, 1), padding=(unit.window // 2, 0), stride=(unit.stride, 1))
    windows = windows.view(n, channels, unit.window, -1, joints).transpose(2, 3).flatten(3)  # (N, C, T', τ·V)
    graphs = (unit.graph + unit.residual_graph).unflatten(0, (unit.scales, -1)).transpose(1, 2)
    weight = unit.mix.weight.view(unit.mix.out_channels, unit.scales, -1).transpose(0, 1)
    embedded = F.relu(unit.norm(aggregate_then_mix(windows, graphs, weight, unit.mix.bias)))
    frames = embedded.unflatten(3, (unit.window, joints))  # (N, E, T', τ, V)
    collapsed = F.conv3d(frames, unit.collapse.weight.unsqueeze(2), unit.collapse.bias).squeeze(3)
    return unit.collapse_norm(collapsed)


def stage(unit: SpatialTemporalStage, x: Tensor) -> Tensor:
    """MS-G3D's two paths, time before joints in both."""
    total = unit.path(x)
    for window in unit.windows:
        assert isinstance(window, WindowGraphConv)
        total = total + window_graph(window, x)
    return unit.after(F.relu(total))


def two_branches(unit: MGGCN, joints: Tensor) -> Tensor:
    """DualHead-Net with every gate before the mean."""
    unit.check_input(joints)
    x = unit.stages["1"](unit.input_norm(joints))
    fine = unit.stages["2_fine"](unit.embed_fine(x))
    coarse = unit.stages["2_coarse"](x[:, :, ::2] * unit.frames_2(fine))
    fine = unit.stages["3_fine"](fine * unit.joints_2(coarse))
    coarse = unit.stages["3_coarse"](coarse * unit.frames_3(fine))
    fine = fine * unit.joints_3(coarse)
    features = torch.cat([fine.mean(dim=(2, 3)), coarse.mean(dim=(2, 3))], dim=1)
    return features.unflatten(0, (-1, unit.num_bodies)).mean(dim=1)


METHODS = (
    (ParallelGraphConv, "forward", parallel_graph),
    (ParallelTemporalConv, "forward", parallel_temporal),
    (SpatialTemporalStage, "forward", stage),
    (MGGCN, "forward", two_branches),
)
