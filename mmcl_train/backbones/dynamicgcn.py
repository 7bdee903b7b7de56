"""Dynamic GCN: a graph encoded from the context of all joints of a clip, and joints that are merged on the way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.agcn import SpatialTemporalChannelAttention
from mmcl_train.backbones.base import Backbone, BodyNorm, create_linear, pool_bodies, scale_channels
from mmcl_train.backbones.graph_convolution import aggregate_then_mix
from mmcl_train.backbones.initialise import init_conv_branch, init_conv_fan_out, init_norm
from mmcl_train.backbones.published import KeyRule, rules
from mmcl_train.backbones.temporal import TemporalConv, norm_rules, temporal_rules
from mmcl_train.graphs.adjacency import spatial_stack

SUBSETS = 3  # static graphs; the dynamic one is a fourth
JOINT_REDUCTION = 0.6  # joints that are left after each projection, rounded down
# (channels at width 1, stride, whether the joints are merged behind the block)
BLOCKS = (
    *[(64, 1, False)] * 4,
    (128, 2, True),
    *[(128, 1, False)] * 2,
    (256, 2, True),
    *[(256, 1, False)] * 2,
)


class ContextEncoder(nn.Module):
    """CeN: one graph a clip from all its joints, channels and frames at once, (N, C, T, V) → (N, V, V).

    Channels are squeezed to one, then time, then every joint's scalar is mixed into V² edges. The
    column of each joint has unit length. Every clip length has weights of its own.

    Source: Dynamic GCN (arXiv:2007.14690), Contextual Encoding Network.
    """

    def __init__(self, in_channels: int, num_joints: int, clip_length: int) -> None:
        super().__init__()
        self.channels = nn.Conv2d(in_channels, 1, 1)
        self.frames = nn.Linear(clip_length, 1)
        self.norm = nn.BatchNorm1d(num_joints)
        self.edges = nn.Linear(num_joints, num_joints * num_joints)
        for layer in (self.channels, self.frames, self.edges):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        joints = x.shape[-1]
        context = self.frames(self.channels(x).squeeze(1).transpose(1, 2)).squeeze(-1)  # (N, V)
        if self.training and context.shape[0] == 1:
            # One body alone has no variance, and the norm refuses it: show it twice, take it once.
            context = self.norm(context.expand(2, -1))[:1]
        else:
            context = self.norm(context)
        graph = self.edges(context).unflatten(1, (joints, joints))
        return graph / graph.square().sum(dim=1, keepdim=True).sqrt()


class DynamicGraphConv(nn.Module):
    """Three learnt graphs and the encoded one, a residual, then attention: (N, C, T, V) → (N, C', T, V).

    y = Σ_k (W_k x A_k + b_k) + λ (W x CeN(x) + b): the four products are one and the four 1×1
    convolutions another; λ rides on the graph and the bias.
    """

    def __init__(self, in_channels: int, out_channels: int, graphs: Tensor, clip_length: int) -> None:
        super().__init__()
        self.graphs = nn.Parameter(graphs.clone())  # (K, V, V)
        self.balance = nn.Parameter(torch.ones(1))  # λ of equation 4
        self.context = ContextEncoder(in_channels, graphs.shape[-1], clip_length)
        self.weight = nn.Parameter(torch.empty(SUBSETS + 1, out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(SUBSETS + 1, out_channels))
        self.norm = nn.BatchNorm2d(out_channels)
        self.down: nn.Module | None = None
        if in_channels != out_channels:
            self.down = TemporalConv(in_channels, out_channels, 1)
            init_conv_fan_out(self.down.conv)
        self.attention = SpatialTemporalChannelAttention(out_channels, graphs.shape[-1])
        *static, dynamic = self.weight.detach()
        for weight in static:
            init_conv_branch(weight.unsqueeze(-1), SUBSETS)
        nn.init.kaiming_normal_(dynamic.unsqueeze(-1), mode="fan_out")
        init_norm(self.norm, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        dynamic = self.balance * self.context(x)  # (N, V, V)
        static = self.graphs.to(dynamic.dtype).expand(dynamic.shape[0], -1, -1, -1)
        graphs = torch.cat([static, dynamic.unsqueeze(1)], dim=1)  # (N, K + 1, V, V)
        bias = self.bias[:-1].sum(dim=0) + self.balance * self.bias[-1]
        y = self.norm(aggregate_then_mix(x, graphs, self.weight, bias))
        return self.attention(F.relu(y + (x if self.down is None else self.down(x))))


class JointProjection(nn.Module):
    """Merge V joints into fewer by a learnt matrix, and norm: (N, C, T, V) → (N, C, T, W)."""

    def __init__(self, channels: int, in_joints: int, out_joints: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.empty(in_joints, out_joints))
        self.norm = nn.BatchNorm2d(channels)
        nn.init.kaiming_normal_(self.matrix)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x @ self.matrix)


class DynamicBlock(nn.Module):
    """Graph convolution, 9×1 convolution, residual, ReLU: (N, C, T, V) → (N, C', ceil(T / stride), V)."""

    def __init__(
        self, channels: tuple[int, int], stride: int, graphs: Tensor, clip_length: int, *, residual: bool
    ) -> None:
        super().__init__()
        self.spatial = DynamicGraphConv(*channels, graphs, clip_length)
        self.temporal = TemporalConv(channels[1], channels[1], 9, stride)
        init_conv_fan_out(self.temporal.conv)
        self.residual: nn.Module | None = None
        if residual:
            same = channels[0] == channels[1] and stride == 1
            self.residual = nn.Identity() if same else TemporalConv(*channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.temporal(self.spatial(x))
        return F.relu(y if self.residual is None else y + self.residual(x))


_BLOCK, _GRAPH = r"layers\.(\d+)", r"backbone.agcn_networks.\1.gcn"


def _four(leaf: str) -> tuple[str, ...]:
    """The static subsets' 1×1 convolutions, then the dynamic one's."""
    return (*(rf"{_GRAPH}.conv_d.{k}.{leaf}" for k in range(SUBSETS)), rf"{_GRAPH}.conv_cen.{leaf}")


class DynamicGCN(Backbone):
    """Dynamic GCN as in its authors' later release (SkelAct): ten blocks, 25 → 15 → 9 joints for NTU.

    The context encoders weigh every frame of the clip, so a model takes clips of one length alone:
    the `clip_length` it was built for.

    Source: Ye, Pu, Zhong, Li, Xie, Tang, MM 2020 (arXiv:2007.14690).
    """

    publication = "Dynamic GCN (MM 2020, arXiv:2007.14690)"
    year = 2020
    min_clip_length = 1
    fixed_clip_length = True
    published_rules = rules(
        norm_rules(r"body_norm\.norm", "backbone.data_bn"),
        KeyRule(rf"{_BLOCK}\.matrix", r"backbone.agcn_networks.\1.proj_mat"),
        norm_rules(rf"{_BLOCK}\.norm", r"backbone.agcn_networks.\1.bn"),
        KeyRule(rf"{_BLOCK}\.spatial\.graphs", rf"{_GRAPH}.PA"),
        KeyRule(rf"{_BLOCK}\.spatial\.balance", rf"{_GRAPH}.lamb"),
        norm_rules(rf"{_BLOCK}\.spatial\.context\.channels", rf"{_GRAPH}.cen.conv_c"),
        norm_rules(rf"{_BLOCK}\.spatial\.context\.frames", rf"{_GRAPH}.cen.conv_t"),
        norm_rules(rf"{_BLOCK}\.spatial\.context\.norm", rf"{_GRAPH}.cen.bn"),
        norm_rules(rf"{_BLOCK}\.spatial\.context\.edges", rf"{_GRAPH}.cen.conv_v"),
        KeyRule(rf"{_BLOCK}\.spatial\.weight", _four("weight"), "stack"),
        KeyRule(rf"{_BLOCK}\.spatial\.bias", _four("bias"), "stack"),
        norm_rules(rf"{_BLOCK}\.spatial\.norm", rf"{_GRAPH}.bn"),
        temporal_rules(rf"{_BLOCK}\.spatial\.down", rf"{_GRAPH}.down", conv="0", norm="1"),
        norm_rules(rf"{_BLOCK}\.spatial\.attention\.joints", rf"{_GRAPH}.attention.conv_sa"),
        norm_rules(rf"{_BLOCK}\.spatial\.attention\.frames", rf"{_GRAPH}.attention.conv_ta"),
        norm_rules(rf"{_BLOCK}\.spatial\.attention\.squeeze", rf"{_GRAPH}.attention.fc1c"),
        norm_rules(rf"{_BLOCK}\.spatial\.attention\.expand", rf"{_GRAPH}.attention.fc2c"),
        temporal_rules(rf"{_BLOCK}\.temporal", r"backbone.agcn_networks.\1.tcn", conv="0", norm="1"),
        temporal_rules(rf"{_BLOCK}\.residual", r"backbone.agcn_networks.\1.residual", conv="0", norm="1"),
        norm_rules("classifier", "cls_head.fc"),
    )
    published_ignored = (r"backbone\.A",)  # the skeleton's graph, which nothing reads after construction

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
        graphs = torch.tensor(spatial_stack(layout), dtype=torch.get_default_dtype())
        self.body_norm = BodyNorm(in_channels, layout.num_joints, num_bodies, per_body=False)
        layers: list[nn.Module] = []  # blocks and joint projections, in the published order
        last, frames = in_channels, clip_length
        for channels, stride, merges in BLOCKS:
            out = scale_channels(channels, width)
            layers.append(DynamicBlock((last, out), stride, graphs, frames, residual=bool(layers)))
            last, frames = out, -(-frames // stride)
            if merges:
                joints = graphs.shape[-1]
                merged = max(1, int(joints * JOINT_REDUCTION))
                layers.append(JointProjection(out, joints, merged))
                # Merged joints have no skeleton: their graphs start next to nothing.
                graphs = torch.full((SUBSETS, merged, merged), 1e-6)
        self.layers = nn.ModuleList(layers)
        self.num_features = last

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) → (N, num_features); T must be the clip_length of construction."""
        self.check_input(joints)
        x = self.body_norm(joints)
        for layer in self.layers:
            x = layer(x)
        return pool_bodies(x, self.num_bodies)

    def create_classifier(self, num_classes: int) -> nn.Module:
        """Linear, N(0, 0.01²) weights and zero bias."""
        classifier = create_linear(self.num_features, num_classes, std=0.01)
        nn.init.zeros_(classifier.bias)
        return classifier
