"""MST-GCN: channels in four parts, each part's graph or temporal convolution fed by the part before."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.base import Backbone, BodyNorm, pool_bodies, scale_channels
from mmcl_train.backbones.blocks import FRAME_RULES
from mmcl_train.backbones.graph_convolution import subset_convolution
from mmcl_train.backbones.initialise import init_conv_fan_out
from mmcl_train.backbones.published import KeyRule, rules
from mmcl_train.backbones.temporal import TemporalConv, norm_rules, temporal_rules
from mmcl_train.graphs.adjacency import spatial_stack

SCALES = 4
KERNEL = 9
# (channels at width 1, stride) of each block.
BLOCKS = ((112, 1),) * 4 + ((224, 2), (224, 1), (224, 1), (448, 2), (448, 1), (448, 1))


class PartGraphConv(nn.Module):
    """Σ_k (W_k x + b_k) A_k over the skeleton plus a free graph that starts as the skeleton; norm."""

    def __init__(self, in_channels: int, out_channels: int, skeleton: Tensor) -> None:
        super().__init__()
        self.graphs = nn.Parameter(skeleton.clone())
        self.mix = nn.Conv2d(in_channels, out_channels * len(skeleton), 1)
        self.norm = nn.BatchNorm2d(out_channels)
        init_conv_fan_out(self.mix)

    def forward(self, x: Tensor, skeleton: Tensor) -> Tensor:
        """(N, C, T, V) and (K, V, V) → (N, C', T, V)."""
        graphs = skeleton + self.graphs
        return self.norm(subset_convolution(x, graphs, self.mix.weight, self.mix.bias))


class HierarchicalGraphConv(nn.Module):
    """Part s sees its own channels plus what came out of part s - 1: a receptive field that grows."""

    def __init__(self, channels: int, skeleton: Tensor) -> None:
        super().__init__()
        size = channels // SCALES
        self.parts = nn.ModuleList(PartGraphConv(size, size, skeleton) for _ in range(SCALES))

    def forward(self, x: Tensor, skeleton: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C, T, V)."""
        parts = x.chunk(SCALES, dim=1)
        outs = [self.parts[0](parts[0], skeleton)]
        for conv, part in zip(self.parts[1:], parts[1:], strict=True):
            outs.append(conv(outs[-1] + part, skeleton))
        return torch.cat(outs, dim=1)


class ParallelGraphConv(nn.Module):
    """The four parts side by side, where channels change: one grouped convolution and one product."""

    def __init__(self, in_channels: int, out_channels: int, skeleton: Tensor) -> None:
        super().__init__()
        self.graphs = nn.Parameter(skeleton.repeat(SCALES, 1, 1, 1))  # (S, K, V, V)
        self.mix = nn.Conv2d(in_channels, out_channels * len(skeleton), 1, groups=SCALES)
        self.norm = nn.BatchNorm2d(out_channels)
        init_conv_fan_out(self.mix, SCALES)

    def forward(self, x: Tensor, skeleton: Tensor) -> Tensor:
        """(N, C, T, V) and (K, V, V) → (N, C', T, V)."""
        mixed = self.mix(x).unflatten(1, (SCALES, len(skeleton), -1))  # (N, S, K, C'/S, T, V)
        y = (mixed.flatten(3, 4) @ (skeleton + self.graphs)).sum(dim=2)
        return self.norm(y.unflatten(2, (-1, x.shape[2])).flatten(1, 2))


class HierarchicalTemporalConv(nn.Module):
    """As the hierarchical graph convolution, along time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = channels // SCALES
        self.parts = nn.ModuleList(TemporalConv(size, size, KERNEL) for _ in range(SCALES))
        _init_temporal(self.parts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C, T, V)."""
        parts = x.chunk(SCALES, dim=1)
        outs = [self.parts[0](parts[0])]
        for conv, part in zip(self.parts[1:], parts[1:], strict=True):
            outs.append(conv(outs[-1] + part))
        return torch.cat(outs, dim=1)


class ParallelTemporalConv(nn.Module):
    """The four parts side by side, where time is strided."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (KERNEL, 1), (stride, 1), (KERNEL // 2, 0), groups=SCALES)
        self.norm = nn.BatchNorm2d(channels)
        init_conv_fan_out(self.conv, SCALES)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C, ceil(T / stride), V)."""
        return self.norm(self.conv(x))


class FirstBlock(nn.Module):
    """Graph, then time, undivided and without residuals."""

    def __init__(self, in_channels: int, out_channels: int, skeleton: Tensor) -> None:
        super().__init__()
        self.spatial = PartGraphConv(in_channels, out_channels, skeleton)
        self.temporal = TemporalConv(out_channels, out_channels, KERNEL)
        _init_temporal([self.temporal])

    def forward(self, x: Tensor, skeleton: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T, V)."""
        return F.relu(self.temporal(F.relu(self.spatial(x, skeleton), inplace=True)), inplace=True)


class MultiScaleBlock(nn.Module):
    """Norm and multi-scale graph convolution, residual, ReLU; multi-scale temporal convolution, residual, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, skeleton: Tensor, stride: int) -> None:
        super().__init__()
        self.norm_in = nn.BatchNorm2d(in_channels)
        self.spatial: nn.Module
        self.spatial_residual: nn.Module
        if in_channels == out_channels:
            self.spatial = HierarchicalGraphConv(in_channels, skeleton)
            self.spatial_residual = nn.Identity()
        else:
            self.spatial = ParallelGraphConv(in_channels, out_channels, skeleton)
            self.spatial_residual = TemporalConv(in_channels, out_channels, 1)
            _init_temporal([self.spatial_residual])
        self.temporal: nn.Module
        self.temporal_residual: nn.Module
        if stride == 1:
            self.temporal = HierarchicalTemporalConv(out_channels)
            self.temporal_residual = nn.Identity()
        else:
            self.temporal = ParallelTemporalConv(out_channels, stride)
            self.temporal_residual = TemporalConv(out_channels, out_channels, 1, stride)
            _init_temporal([self.temporal_residual])

    def forward(self, x: Tensor, skeleton: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', ceil(T / stride), V)."""
        y = F.relu(self.spatial(self.norm_in(x), skeleton) + self.spatial_residual(x), inplace=True)
        return F.relu(self.temporal(y) + self.temporal_residual(y), inplace=True)


def _init_temporal(units: Iterable[nn.Module]) -> None:
    for unit in units:
        if isinstance(unit, TemporalConv):
            init_conv_fan_out(unit.conv)


def _skeleton_names() -> tuple[str, ...]:
    """Every block and part keeps the skeleton under its own name."""
    parts = [f"layers.{i}.msgcn.conv_bn.{s}.0.A" for i in range(1, len(BLOCKS)) for s in range(SCALES)]
    return ("layers.0.msgcn.conv.A", *parts)


def _parts(template: str) -> tuple[str, ...]:
    return tuple(template.format(s) for s in range(SCALES))


FIRST, SPATIAL, TEMPORAL = "layers.0", r"layers.\1.msgcn", r"layers.\1.mstcn"


class MSTGCN(Backbone):
    """MST-GCN without attention, 112, 224 and 448 channels, four scales.

    Source: Chen, Li, Yang, Li, Liu, AAAI 2021.
    """

    publication = "MST-GCN (AAAI 2021, Chen et al.)"
    year = 2021
    min_clip_length = 1
    published_rules = rules(
        FRAME_RULES,
        KeyRule("skeleton", _skeleton_names(), "same"),
        KeyRule(r"blocks\.0\.spatial\.graphs", f"{FIRST}.msgcn.conv.PA"),
        norm_rules(r"blocks\.0\.spatial\.mix", f"{FIRST}.msgcn.conv.gcn"),
        norm_rules(r"blocks\.0\.spatial\.norm", f"{FIRST}.msgcn.bn"),
        temporal_rules(r"blocks\.0\.temporal", f"{FIRST}.mstcn"),
        norm_rules(r"blocks\.(\d)\.norm_in", f"{SPATIAL}.bn_in"),
        KeyRule(r"blocks\.(\d)\.spatial\.parts\.(\d)\.graphs", rf"{SPATIAL}.conv_bn.\2.0.PA"),
        norm_rules(r"blocks\.(\d)\.spatial\.parts\.(\d)\.mix", rf"{SPATIAL}.conv_bn.\2.0.gcn"),
        norm_rules(r"blocks\.(\d)\.spatial\.parts\.(\d)\.norm", rf"{SPATIAL}.conv_bn.\2.1"),
        KeyRule(r"blocks\.(\d)\.spatial\.graphs", _parts(SPATIAL + ".conv_bn.{}.0.PA"), "stack"),
        KeyRule(r"blocks\.(\d)\.spatial\.mix\.(\w+)", _parts(SPATIAL + r".conv_bn.{}.0.gcn.\2"), "cat"),
        KeyRule(r"blocks\.(\d)\.spatial\.norm\.(\w+)", _parts(SPATIAL + r".conv_bn.{}.1.\2"), "cat"),
        temporal_rules(r"blocks\.(\d)\.spatial_residual", f"{SPATIAL}.residual", conv="0", norm="1"),
        temporal_rules(r"blocks\.(\d)\.temporal\.parts\.(\d)", rf"{TEMPORAL}.conv_bn.\2", conv="0", norm="1"),
        KeyRule(r"blocks\.(\d)\.temporal\.conv\.(\w+)", _parts(TEMPORAL + r".conv_bn.{}.0.\2"), "cat"),
        KeyRule(r"blocks\.(\d)\.temporal\.norm\.(\w+)", _parts(TEMPORAL + r".conv_bn.{}.1.\2"), "cat"),
        temporal_rules(r"blocks\.(\d)\.temporal_residual", f"{TEMPORAL}.residual", conv="0", norm="1"),
    )
    # The release makes an input norm for every temporal layer and never calls it.
    published_ignored = (r"layers\.\d\.mstcn\.bn_in\..*",)

    skeleton: Tensor

    def __init__(
        self,
        *,
        layout: Layout,
        num_bodies: int = 2,
        clip_length: int = 64,
        in_channels: int = 3,
        width: float = 1.0,
    ) -> None:
        super().__init__(
            layout=layout,
            num_bodies=num_bodies,
            clip_length=clip_length,
            in_channels=in_channels,
            width=width,
        )
        skeleton = torch.tensor(spatial_stack(layout), dtype=torch.get_default_dtype())
        self.register_buffer("skeleton", skeleton)  # (3, V, V)
        self.input_norm = BodyNorm(in_channels, layout.num_joints, num_bodies)
        blocks: list[nn.Module] = []
        last = in_channels
        for channels, stride in BLOCKS:
            out = scale_channels(channels, width)  # multiples of 8 divide into the four parts
            if blocks:
                blocks.append(MultiScaleBlock(last, out, skeleton, stride))
            else:
                blocks.append(FirstBlock(last, out, skeleton))
            last = out
        self.blocks = nn.ModuleList(blocks)
        self.num_features = last

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) → (N, num_features)."""
        self.check_input(joints)
        x = self.input_norm(joints)
        for block in self.blocks:
            x = block(x, self.skeleton)
        return pool_bodies(x, self.num_bodies)
