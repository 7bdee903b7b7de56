"""2s-AGCN and MS-AAGCN: learnt graphs plus one computed from every clip, and attention on top."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.attention import JointConv, TimeConv
from mmcl_train.backbones.base import Backbone, BodyNorm, pool_bodies, scale_channels
from mmcl_train.backbones.graph_convolution import aggregate_then_mix
from mmcl_train.backbones.initialise import init_conv_branch, init_conv_fan_out, init_norm
from mmcl_train.backbones.published import KeyRule, rules
from mmcl_train.backbones.temporal import TemporalConv, norm_rules, temporal_rules
from mmcl_train.graphs.adjacency import spatial_stack

# (channels at width 1, stride) of each block.
BLOCKS = ((64, 1), (64, 1), (64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1))
SUBSETS = 3
EMBEDDING_REDUCTION = 4


class AdaptiveGraphConv(nn.Module):
    """Graph convolution over K = 3 subsets whose graphs also depend on the clip.

    The 2·K embeddings are one convolution, the K similarities one batched product, and the K
    aggregations with their 1×1 convolutions another two; as published each subset has its own.

    Source: 2s-AGCN (arXiv:1805.07694), equation 3: A_k + B_k + C_k.
    """

    def __init__(self, in_channels: int, out_channels: int, graphs: Tensor) -> None:
        super().__init__()
        embedded = max(1, out_channels // EMBEDDING_REDUCTION)
        self.graphs = nn.Parameter(self.initial_graphs(graphs))  # (K, V, V), learnt freely
        self.embed = nn.Conv2d(in_channels, 2 * SUBSETS * embedded, 1)
        self.weight = nn.Parameter(torch.empty(SUBSETS, out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(SUBSETS, out_channels))
        self.norm = nn.BatchNorm2d(out_channels)
        self.down = None if in_channels == out_channels else TemporalConv(in_channels, out_channels, 1)
        init_conv_fan_out(self.embed, 2 * SUBSETS)
        for weight in self.weight.detach():
            init_conv_branch(weight.unsqueeze(-1), SUBSETS)
        init_norm(self.norm, 1e-6)
        if self.down is not None:
            init_conv_fan_out(self.down.conv)

    def initial_graphs(self, graphs: Tensor) -> Tensor:
        """What the free graphs start from, (K, V, V)."""
        raise NotImplementedError

    def similarity(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, K, V, V): products of two embeddings over channels and time, averaged."""
        embedded = self.embed(x).unflatten(1, (2, SUBSETS, -1)).flatten(3, 4)  # (N, 2, K, E·T, V)
        first, second = embedded.unbind(1)
        return first.transpose(-1, -2) @ second / first.shape[-2]

    def adjacency(self, x: Tensor) -> Tensor:
        """The whole graph of a clip, (N, K, V, V)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T, V)."""
        y = self.norm(aggregate_then_mix(x, self.adjacency(x), self.weight, self.bias.sum(dim=0)))
        return F.relu(y + (x if self.down is None else self.down(x)))


class SoftmaxGraphConv(AdaptiveGraphConv):
    """2s-AGCN's: the skeleton's graph, plus a free one, plus softmax similarity."""

    def __init__(self, in_channels: int, out_channels: int, graphs: Tensor) -> None:
        super().__init__(in_channels, out_channels, graphs)
        self.register_buffer("skeleton", graphs.clone(), persistent=False)

    skeleton: Tensor

    def initial_graphs(self, graphs: Tensor) -> Tensor:
        return torch.full_like(graphs, 1e-6)

    def adjacency(self, x: Tensor) -> Tensor:
        return self.similarity(x).softmax(dim=-2) + (self.skeleton + self.graphs)


class GatedGraphConv(AdaptiveGraphConv):
    """MS-AAGCN's: a free graph that starts as the skeleton, plus gated similarity; then attention."""

    def __init__(self, in_channels: int, out_channels: int, graphs: Tensor) -> None:
        super().__init__(in_channels, out_channels, graphs)
        self.gate = nn.Parameter(torch.zeros(1))
        self.attention = SpatialTemporalChannelAttention(out_channels, graphs.shape[-1])

    def initial_graphs(self, graphs: Tensor) -> Tensor:
        return graphs.clone()

    def adjacency(self, x: Tensor) -> Tensor:
        return self.graphs + self.gate * self.similarity(x).tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(super().forward(x))


class SpatialTemporalChannelAttention(nn.Module):
    """Three sigmoid gates in turn, x ← x (1 + gate): over joints, frames, then channels.

    Each gate sees the mean of what the one before let through. Those means follow from one product
    and small tensors, so the feature map is only written once, at the end.

    Source: MS-AAGCN (arXiv:1912.06971), section III-D.
    """

    def __init__(self, channels: int, num_joints: int) -> None:
        super().__init__()
        self.joints = JointConv(channels, num_joints)
        self.frames = TimeConv(channels)
        self.squeeze = nn.Linear(channels, channels // 2)
        self.expand = nn.Linear(channels // 2, channels)
        nn.init.kaiming_normal_(self.squeeze.weight)
        nn.init.zeros_(self.squeeze.bias)
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → the same."""
        joints = 1 + self.joints(x.mean(dim=2)).sigmoid()  # (N, 1, V)
        over_joints = (x @ joints.unsqueeze(-1)).squeeze(-1) / x.shape[-1]  # (N, C, T)
        frames = 1 + self.frames(over_joints).sigmoid()  # (N, 1, T)
        over_both = (over_joints * frames).mean(dim=-1)  # (N, C)
        channels = 1 + self.expand(F.relu(self.squeeze(over_both))).sigmoid()
        gates = frames.unsqueeze(-1) * joints.unsqueeze(-2)  # (N, 1, T, V)
        return x * gates * channels[..., None, None]


class AdaptiveBlock(nn.Module):
    """Graph convolution, 9×1 convolution with norm, residual, ReLU."""

    def __init__(
        self, graph_conv: AdaptiveGraphConv, channels: tuple[int, int], stride: int, first: bool
    ) -> None:
        super().__init__()
        self.spatial = graph_conv
        self.temporal = TemporalConv(channels[1], channels[1], 9, stride)
        init_conv_fan_out(self.temporal.conv)
        self.residual: nn.Module | None = None
        if not first:
            self.residual = nn.Identity()
            if channels[0] != channels[1] or stride != 1:
                self.residual = TemporalConv(*channels, 1, stride)
                init_conv_fan_out(self.residual.conv)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', ceil(T / stride), V)."""
        y = self.temporal(self.spatial(x))
        return F.relu(y if self.residual is None else y + self.residual(x))


def _embedding_names(leaf: str) -> tuple[str, ...]:
    return tuple(rf"l\1.gcn1.conv_{half}.{k}.{leaf}" for half in "ab" for k in range(SUBSETS))


def _subset_names(leaf: str) -> tuple[str, ...]:
    return tuple(rf"l\1.gcn1.conv_d.{k}.{leaf}" for k in range(SUBSETS))


SHARED_RULES = rules(
    norm_rules("input_norm.norm", "data_bn"),
    norm_rules("classifier", "fc"),
    KeyRule(r"blocks\.(\d+)\.spatial\.graphs", r"l\1.gcn1.PA"),
    KeyRule(r"blocks\.(\d+)\.spatial\.embed\.weight", _embedding_names("weight"), "cat"),
    KeyRule(r"blocks\.(\d+)\.spatial\.embed\.bias", _embedding_names("bias"), "cat"),
    KeyRule(r"blocks\.(\d+)\.spatial\.weight", _subset_names("weight"), "stack"),
    KeyRule(r"blocks\.(\d+)\.spatial\.bias", _subset_names("bias"), "stack"),
    norm_rules(r"blocks\.(\d+)\.spatial\.norm", r"l\1.gcn1.bn"),
    temporal_rules(r"blocks\.(\d+)\.spatial\.down", r"l\1.gcn1.down", conv="0", norm="1"),
    temporal_rules(r"blocks\.(\d+)\.temporal", r"l\1.tcn1"),
    temporal_rules(r"blocks\.(\d+)\.residual", r"l\1.residual"),
)


class AGCN(Backbone):
    """One stream of 2s-AGCN.

    Source: Shi, Zhang, Cheng, Lu, CVPR 2019 (arXiv:1805.07694).
    """

    publication = "2s-AGCN (CVPR 2019, arXiv:1805.07694)"
    year = 2019
    min_clip_length = 1
    published_rules = SHARED_RULES
    graph_conv: ClassVar[type[AdaptiveGraphConv]] = SoftmaxGraphConv

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
            layout=layout, num_bodies=num_bodies, clip_length=clip_length, in_channels=in_channels
        )
        graphs = torch.tensor(spatial_stack(layout), dtype=torch.get_default_dtype())
        self.input_norm = BodyNorm(in_channels, layout.num_joints, num_bodies)
        blocks: dict[str, nn.Module] = {}  # numbered from 1 as published
        last = in_channels
        for number, (channels, stride) in enumerate(BLOCKS, start=1):
            out = scale_channels(channels, width)
            graph_conv = self.graph_conv(last, out, graphs)
            blocks[str(number)] = AdaptiveBlock(graph_conv, (last, out), stride, number == 1)
            last = out
        self.blocks = nn.ModuleDict(blocks)
        self.num_features = last

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) → (N, num_features)."""
        self.check_input(joints)
        x = self.input_norm(joints)
        for block in self.blocks.values():
            x = block(x)
        return pool_bodies(x, self.num_bodies)


class AAGCN(AGCN):
    """One stream of MS-AAGCN, adaptive and with attention.

    Source: Shi, Zhang, Cheng, Lu, TIP 2020 (arXiv:1912.06971).
    """

    publication = "MS-AAGCN (TIP 2020, arXiv:1912.06971)"
    year = 2020
    published_rules = rules(
        SHARED_RULES,
        KeyRule(r"blocks\.(\d+)\.spatial\.gate", r"l\1.gcn1.alpha"),
        norm_rules(r"blocks\.(\d+)\.spatial\.attention\.joints", r"l\1.gcn1.conv_sa"),
        norm_rules(r"blocks\.(\d+)\.spatial\.attention\.frames", r"l\1.gcn1.conv_ta"),
        norm_rules(r"blocks\.(\d+)\.spatial\.attention\.squeeze", r"l\1.gcn1.fc1c"),
        norm_rules(r"blocks\.(\d+)\.spatial\.attention\.expand", r"l\1.gcn1.fc2c"),
    )
    graph_conv = GatedGraphConv
