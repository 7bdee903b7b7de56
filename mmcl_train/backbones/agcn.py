"""2s-AGCN and MS-AAGCN: learnt graphs plus one computed from every clip, and attention on top."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_train.backbones.attention import JointConv, TimeConv
from mmcl_train.backbones.blocks import (
    FRAME_RULES,
    TEN_BLOCKS,
    GraphResidual,
    TenBlockBackbone,
    block_rules,
    graph_residual_rules,
    residual_rules,
)
from mmcl_train.backbones.graph_convolution import aggregate_then_mix
from mmcl_train.backbones.initialise import init_conv_branch, init_conv_fan_out
from mmcl_train.backbones.published import KeyRule, rules
from mmcl_train.backbones.temporal import TemporalConv, norm_rules, temporal_rules
from mmcl_train.graphs.adjacency import spatial_stack

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
        self.finish = GraphResidual(in_channels, out_channels)
        init_conv_fan_out(self.embed, 2 * SUBSETS)
        for weight in self.weight.detach():
            init_conv_branch(weight.unsqueeze(-1), SUBSETS)

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
        y = aggregate_then_mix(x, self.adjacency(x), self.weight, self.bias.sum(dim=0))
        return self.finish(y, x)


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

    Source: MS-AAGCN (arXiv:1912.06971), the STC-attention module.
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


def adaptive_rules(ours: str, published: str) -> list[KeyRule]:
    """The tensors of one block without the attention."""
    unit = f"{published}.gcn1"
    embed = [f"{unit}.conv_{half}.{k}" for half in "ab" for k in range(SUBSETS)]
    subsets = [f"{unit}.conv_d.{k}" for k in range(SUBSETS)]
    made = [KeyRule(rf"{ours}\.graph\.graphs", f"{unit}.PA")]
    for leaf in ("weight", "bias"):
        made.append(KeyRule(rf"{ours}\.graph\.embed\.{leaf}", tuple(f"{n}.{leaf}" for n in embed), "cat"))
        made.append(KeyRule(rf"{ours}\.graph\.{leaf}", tuple(f"{n}.{leaf}" for n in subsets), "stack"))
    made.extend(graph_residual_rules(rf"{ours}\.graph\.finish", unit))
    made.extend(temporal_rules(rf"{ours}\.temporal", f"{published}.tcn1"))
    made.extend(residual_rules(ours, published))
    return made


def attention_rules(ours: str, published: str) -> list[KeyRule]:
    """The tensors of one block that MS-AAGCN adds."""
    made = [KeyRule(rf"{ours}\.graph\.gate", f"{published}.gcn1.alpha")]
    for layer, name in (
        ("joints", "conv_sa"),
        ("frames", "conv_ta"),
        ("squeeze", "fc1c"),
        ("expand", "fc2c"),
    ):
        made.extend(norm_rules(rf"{ours}\.graph\.attention\.{layer}", f"{published}.gcn1.{name}"))
    return made


class AGCN(TenBlockBackbone):
    """One stream of 2s-AGCN.

    Source: Shi, Zhang, Cheng, Lu, CVPR 2019 (arXiv:1805.07694).
    """

    publication = "2s-AGCN (CVPR 2019, arXiv:1805.07694)"
    year = 2019
    published_rules = rules(FRAME_RULES, block_rules(len(TEN_BLOCKS), "l{number}", adaptive_rules))
    graph_conv: ClassVar[type[AdaptiveGraphConv]] = SoftmaxGraphConv
    num_graphs = SUBSETS

    def create_parts(self, in_channels: int, out_channels: int, stride: int) -> tuple[nn.Module, nn.Module]:
        graphs = torch.tensor(spatial_stack(self.layout), dtype=torch.get_default_dtype())
        temporal = TemporalConv(out_channels, out_channels, 9, stride)
        init_conv_fan_out(temporal.conv)
        return self.graph_conv(in_channels, out_channels, graphs), temporal

    def infer_graph(self, x: Tensor) -> Tensor:
        """The last block's products of embeddings, summed over channels and time, as SkeletonGCL reads them."""
        last = self.blocks[-1].graph
        assert isinstance(last, AdaptiveGraphConv)
        return last.similarity(x) * (last.embed.out_channels // (2 * SUBSETS) * x.shape[2])


class AAGCN(AGCN):
    """One stream of MS-AAGCN, adaptive and with attention.

    Source: Shi, Zhang, Cheng, Lu, TIP 2020 (arXiv:1912.06971).
    """

    publication = "MS-AAGCN (TIP 2020, arXiv:1912.06971)"
    year = 2020
    published_rules = rules(AGCN.published_rules, block_rules(len(TEN_BLOCKS), "l{number}", attention_rules))
    graph_conv = GatedGraphConv
