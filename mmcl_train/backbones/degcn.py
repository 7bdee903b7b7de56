"""DeGCN (Myung et al., IEEE TIP 2024), as released: grouped channel topologies, deformable temporal sampling.

Two streams of ten blocks read the same joints; each has a head, and the logits are the heads' sum. The
release leaves out the paper's deformable spatial convolution and uses a grouped CTR-GC in its place; the
published weights and parameter count are of that model, and so is this.

Against the plain formulation: see ctrgcn.py; a deformable temporal branch gathers its frames by one index
each side and mixes them as a matrix product over (channel, sample) pairs.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.base import (
    Backbone,
    BodyNorm,
    SummedHeads,
    create_linear,
    pool_bodies,
    scale_channels,
)
from mmcl_train.backbones.blocks import TEN_BLOCKS
from mmcl_train.backbones.ctrgcn import TopologyProduct, refine_topology
from mmcl_train.backbones.published import KeyRule
from mmcl_train.backbones.temporal import (
    MultiScaleTemporalConv,
    TemporalConv,
    activate,
    even_sizes,
    norm_rules,
    temporal_rules,
)
from mmcl_train.graphs.adjacency import spatial_stack

SLOPE = 0.1
GROUPS = 4
STREAMS = 2
SAMPLES = 4  # frames that a deformable kernel reads


class PlainGraphConv(nn.Module):
    """norm(Σ_k A_k W_k x) with learnt A: the first block, on raw joints."""

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.shape = (adjacency.shape[0], out_channels)
        self.adjacency = nn.Parameter(adjacency.clone())
        self.value = nn.Conv2d(in_channels, math.prod(self.shape), 1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T, V)."""
        values = self.value(x).unflatten(1, self.shape)
        return self.norm(torch.einsum("kvu,nkctu->nctv", self.adjacency, values))


class GroupedTopologyConv(nn.Module):
    """CTR-GC with all convolutions in groups of channels; the graphs are shared by the groups."""

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        subsets, relation = adjacency.shape[0], in_channels // 8
        self.adjacency = nn.Parameter(adjacency.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.query = nn.Conv1d(in_channels, relation * subsets, 1, groups=GROUPS)
        self.key = nn.Conv1d(in_channels, relation * subsets, 1, groups=GROUPS)
        self.value = nn.Conv2d(in_channels, out_channels * subsets, 1, groups=GROUPS)
        self.refine = nn.Conv1d(relation * subsets, out_channels * subsets, 1, groups=GROUPS * subsets)
        self.product = TopologyProduct()
        self.norm = nn.BatchNorm2d(out_channels)

    def topology(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, groups · K, C' / groups, V from, V to)."""
        pooled = x.mean(dim=2)
        difference = torch.tanh(self.query(pooled).unsqueeze(-2) - self.key(pooled).unsqueeze(-1))
        parts = GROUPS * self.adjacency.shape[0]
        weight = self.refine.weight.squeeze(-1).unflatten(0, (parts, -1))
        assert self.refine.bias is not None
        return refine_topology(
            difference.unflatten(1, (parts, -1)),
            self.adjacency.transpose(1, 2).repeat(GROUPS, 1, 1),
            weight,
            self.refine.bias.unflatten(0, (parts, -1)),
            self.alpha,
            torch.ones_like(self.alpha),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T, V)."""
        shape = (GROUPS, self.adjacency.shape[0], -1)
        values = self.value(x).unflatten(1, shape).flatten(0, 1)  # (N · groups, K, C' / groups, T, V)
        topology = self.topology(x).unflatten(1, shape[:2]).flatten(0, 1)
        return self.norm(self.product(topology, values).unflatten(0, (-1, GROUPS)).flatten(1, 2))


class DeformableTemporalConv(nn.Module):
    """Σ_e W_e x[t·stride + offset_e] with learnt offsets, linear between frames, edges repeated."""

    def __init__(self, channels: int, reach: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.offsets = nn.Parameter(torch.linspace(-reach, reach, SAMPLES))
        self.mix = nn.Conv3d(channels, channels, (SAMPLES, 1, 1))  # only holds the published tensors

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C, ceil(T / stride), V)."""
        frames = x.shape[2]
        steps = torch.arange(0, frames, self.stride, device=x.device, dtype=self.offsets.dtype)
        times = (steps + self.offsets.unsqueeze(1)).flatten()  # (samples · T')
        before = times.detach().floor()
        fraction = (times - before).to(x.dtype)[:, None]
        low, high = before.clamp(0, frames - 1).long(), (before + 1).clamp(0, frames - 1).long()
        sampled = torch.lerp(x.index_select(2, low), x.index_select(2, high), fraction)
        sampled = sampled.unflatten(2, (SAMPLES, -1)).flatten(1, 2)  # channel-major, as the weights lie
        return F.conv2d(sampled, self.mix.weight.flatten(1, 2), self.mix.bias)


class DeformableMultiScale(MultiScaleTemporalConv):
    """The multi-scale unit with deformable branches."""

    def create_conv(self, size: int, kernel: int, dilation: int, stride: int) -> nn.Module:
        return DeformableTemporalConv(size, dilation * (kernel - 1) // 2, stride)


class DeformableBlock(nn.Module):
    """Graph and temporal convolution, a residual around the first and one around both; leaky ReLUs."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, adjacency: Tensor, *, first: bool
    ) -> None:
        super().__init__()
        graph = PlainGraphConv if first else GroupedTopologyConv
        self.graph = graph(in_channels, out_channels, adjacency)
        kernels = [(5, 1), (5, 2)]
        self.temporal = DeformableMultiScale(
            out_channels, even_sizes(out_channels, 4), kernels, stride, slope=SLOPE
        )
        groups = 1 if first else GROUPS
        same = in_channels == out_channels
        self.inner = nn.Identity() if same else point_unit(in_channels, out_channels, 1, groups)
        outer = (
            nn.Identity() if same and stride == 1 else point_unit(in_channels, out_channels, stride, groups)
        )
        self.outer = None if first else outer
        init_leaky(self, self.temporal.sizes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T', V)."""
        y = activate(self.graph(x) + self.inner(x), SLOPE)
        y = self.temporal(y)
        return activate(y if self.outer is None else y + self.outer(x), SLOPE)


def point_unit(in_channels: int, out_channels: int, stride: int, groups: int) -> TemporalConv:
    """1×1 convolution in groups, and norm."""
    unit = TemporalConv(in_channels, out_channels, kernel=1, stride=stride)
    unit.conv = nn.Conv2d(in_channels, out_channels, 1, stride=(stride, 1), groups=groups)
    return unit


def init_leaky(block: nn.Module, reduce_sizes: list[int]) -> None:
    """He-normal for leaky ReLU by fan-out, zero biases; the merged 1×1s each by their own fan-out."""
    for name, module in block.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            merged = reduce_sizes if name == "temporal.reduce" else [module.out_channels]
            for weight in module.weight.detach().split(merged):
                nn.init.kaiming_normal_(weight, a=SLOPE, mode="fan_out", nonlinearity="leaky_relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class DeGCN(Backbone):
    """Its feature is both streams' features side by side; the classifier sums a head on each."""

    publication = "DeGCN (IEEE TIP 2024)"
    year = 2024
    min_clip_length = 1

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
        adjacency = torch.from_numpy(spatial_stack(layout)).float()
        self.input_norm = BodyNorm(in_channels, layout.num_joints, num_bodies)
        self.streams = nn.ModuleList()
        for _ in range(STREAMS):
            blocks, channels = [], in_channels
            for index, (published, stride) in enumerate(TEN_BLOCKS):
                out_channels = scale_channels(published, width, multiple=8 * GROUPS)
                blocks.append(DeformableBlock(channels, out_channels, stride, adjacency, first=index == 0))
                channels = out_channels
            self.streams.append(nn.Sequential(*blocks))
        self.num_features = STREAMS * channels

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) → (N, num_features)."""
        self.check_input(joints)
        x = self.input_norm(joints)
        return torch.cat([pool_bodies(stream(x), self.num_bodies) for stream in self.streams], dim=1)

    def create_classifier(self, num_classes: int) -> SummedHeads:
        """A linear head a stream."""
        size, std = self.num_features // STREAMS, math.sqrt(2.0 / num_classes)
        return SummedHeads([create_linear(size, num_classes, std=std) for _ in range(STREAMS)])


def degcn_rules() -> tuple[KeyRule, ...]:
    """Blocks by regex: published block names differ from ours by their frame alone."""
    ours, published = r"streams\.(\d)\.(\d)", r"streams.\1.block-\2_tcngcn"
    graph, unit = rf"{ours}\.graph", f"{published}.gcn"
    temporal, branch = rf"{ours}\.temporal", f"{published}.tcn"
    branches = [f"{branch}.{name}" for name in ("tcn1", "tcn2", "maxpool3x1")]
    ends = [rf"{branches[0]}.2.conv_out.1.\3", rf"{branches[1]}.2.conv_out.1.\3", rf"{branches[2]}.3.\3"]
    made = [
        *norm_rules(r"input_norm\.norm", "data_bn"),
        *norm_rules(r"classifier\.heads\.(\d)", r"fc.\1"),
        KeyRule(rf"{graph}\.adjacency", f"{unit}.A"),
        KeyRule(rf"{graph}\.alpha", f"{unit}.alpha"),
        *norm_rules(rf"{graph}\.norm", f"{unit}.bn"),
        *norm_rules(rf"{graph}\.query", f"{unit}.conv1"),
        *norm_rules(rf"{graph}\.key", f"{unit}.conv2"),
        *norm_rules(rf"{graph}\.refine", f"{unit}.conv4"),
        # The first block's one convolution is called otherwise.
        KeyRule(r"streams\.(\d)\.0\.graph\.value\.(\w+)", r"streams.\1.block-0_tcngcn.gcn.conv.\2"),
        *norm_rules(rf"{graph}\.value", f"{unit}.conv3"),
        *temporal_rules(rf"{ours}\.inner", f"{published}.residual1"),
        *temporal_rules(rf"{ours}\.outer", f"{published}.residual2"),
        KeyRule(
            rf"{temporal}\.reduce\.(\w+)",
            (*(rf"{name}.0.conv.\3" for name in branches), rf"{branch}.conv1x1.conv.\3"),
            "cat",
        ),
        KeyRule(rf"{temporal}\.reduce_norm\.(\w+)", tuple(rf"{name}.0.bn.\3" for name in branches), "cat"),
        KeyRule(rf"{temporal}\.norm\.(\w+)", (*ends, rf"{branch}.conv1x1.bn.\3"), "cat"),
    ]
    for index in range(2):
        made.append(KeyRule(rf"{temporal}\.convs\.{index}\.offsets", f"{branches[index]}.2.tr"))
        made.extend(norm_rules(rf"{temporal}\.convs\.{index}\.mix", f"{branches[index]}.2.conv_out.0"))
    return tuple(made)


DeGCN.published_rules = degcn_rules()
