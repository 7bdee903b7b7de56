"""InfoGCN (Chi et al., CVPR 2022): self-attention graph convolution and a latent with an information bottleneck.

Joints become bones seen from a root (the k-th mode of the representation, k = 1), then an embedding; nine
blocks weigh a learnt topology by the attention of each frame; the feature is a latent z, noisy in training.

Against the plain formulation: values are taken before the graph product, (N·T, V, K·C'), so that the heads'
three products are one batched matrix product and nothing is copied in channels-last memory.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.base import Backbone, BodyNorm, pool_bodies, scale_channels
from mmcl_train.backbones.blocks import (
    TEN_BLOCKS,
    GraphResidual,
    block_rules,
    create_blocks,
    graph_residual_rules,
    residual_rules,
)
from mmcl_train.backbones.initialise import init_conv_branch
from mmcl_train.backbones.published import KeyRule
from mmcl_train.backbones.temporal import MultiScaleTemporalConv, even_sizes, multi_scale_rules, norm_rules
from mmcl_train.graphs.adjacency import link_matrix
from mmcl_train.graphs.hierarchy import reroot

HEADS = 3
NINE_BLOCKS = TEN_BLOCKS[1:]
# The release sees NTU's skeleton from the middle of the spine, and NW-UCLA's from its centre.
ROOTS = {"ntu25": 1, "ntu25-hands": 1}


class AttentionGraphConv(nn.Module):
    """Σ_h W_h ((attention_h ∘ topology_h) x), attention of each frame over its joints (section 3.3)."""

    def __init__(self, in_channels: int, out_channels: int, heads: int, joints: int) -> None:
        super().__init__()
        self.heads, self.hidden, self.out_channels = heads, max(in_channels // 8, 1), out_channels
        self.topology = nn.Parameter(torch.eye(joints).repeat(heads, 1, 1))
        self.norm = nn.LayerNorm(in_channels)
        self.relate = nn.Linear(in_channels, 2 * heads * self.hidden)
        nn.init.normal_(self.relate.weight)
        self.value = nn.Linear(in_channels, heads * out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(heads, out_channels))
        for weight in self.value.weight.detach().chunk(heads):
            init_conv_branch(weight[..., None], heads)
        self.finish = GraphResidual(in_channels, out_channels)

    def attention(self, x_NTVC: Tensor) -> Tensor:
        """(N, T, V, C) → (N, T, H, V, V), rows sum to one."""
        related = self.relate(self.norm(x_NTVC)).unflatten(-1, (2, self.heads, self.hidden))
        query, key = related.unbind(dim=3)  # (N, T, V, H, D) each
        dots = torch.einsum("ntihd,ntjhd->nthij", query, key)
        return (dots * self.hidden**-0.5).softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T, V)."""
        frames = x.permute(0, 2, 3, 1).contiguous()  # once, for both that read it; a view in channels-last
        graph = self.attention(frames) * self.topology  # (N, T, H, V, V)
        joints = graph.shape[-1]
        values = self.value(frames).reshape(*frames.shape[:2], joints * self.heads, self.out_channels)
        graph = graph.permute(0, 1, 3, 4, 2).flatten(3)  # (N, T, V, V·H), as the values lie in memory
        y = torch.matmul(graph, values) + self.bias.sum(dim=0)
        return self.finish(y.permute(0, 3, 1, 2).contiguous(), x)


class ActivatedTemporalConv(MultiScaleTemporalConv):
    """The multi-scale unit as this publication has it, with an activation at its end."""

    def forward(self, x: Tensor, residual: Tensor | None = None, *, relu: bool = False) -> Tensor:
        y = super().forward(x, relu=True)
        if residual is not None:
            y = y + residual  # not in place: the activation keeps its output
        return F.relu(y) if relu else y


class InfoGCN(Backbone):
    """Its feature is the latent z: the mean in eval, a noisy sample of it in training."""

    publication = "InfoGCN (CVPR 2022)"
    year = 2022
    own_auxiliary = "infogcn"
    min_clip_length = 1

    def __init__(
        self,
        *,
        layout: Layout,
        num_bodies: int = 2,
        clip_length: int = 64,
        in_channels: int = 3,
        width: float = 1.0,
        mode: int = 1,
        noise_ratio: float = 0.5,
    ) -> None:
        super().__init__(
            layout=layout,
            num_bodies=num_bodies,
            clip_length=clip_length,
            in_channels=in_channels,
            width=width,
        )
        joints, channels = layout.num_joints, scale_channels(64, width)
        self.noise_ratio = noise_ratio
        self.register_buffer("bones", bone_matrix(layout, mode), persistent=False)
        self.embed = nn.Linear(in_channels, channels)
        self.position = nn.Parameter(torch.randn(1, joints, channels))
        self.input_norm = BodyNorm(channels, joints, num_bodies)

        def create(in_channels: int, out_channels: int, stride: int) -> tuple[nn.Module, nn.Module]:
            temporal = ActivatedTemporalConv(
                out_channels, even_sizes(out_channels, 4), [(5, 1), (5, 2)], stride
            )
            return AttentionGraphConv(in_channels, out_channels, HEADS, joints), temporal

        self.blocks, features = create_blocks(channels, width, create, NINE_BLOCKS, first_residual=True)
        self.num_features = features
        self.reduce = nn.Linear(features, features)
        self.mean = nn.Linear(features, features)
        self.log_variance = nn.Linear(features, features)
        for linear in (self.reduce, self.mean, self.log_variance):
            nn.init.xavier_uniform_(linear.weight, gain=nn.init.calculate_gain("relu"))

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) → (N, num_features)."""
        self.check_input(joints)
        bones = torch.einsum("uv,nctvm->ntmuc", self.bones.to(joints.dtype), joints)
        embedded = self.embed(bones) + self.position  # (N, T, M, V, C)
        x = self.blocks(self.input_norm(embedded.permute(0, 4, 1, 3, 2)))
        hidden = F.relu(self.reduce(pool_bodies(x, self.num_bodies)))
        return (
            self.sample(self.mean(hidden), self.log_variance(hidden)) if self.training else self.mean(hidden)
        )

    def sample(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """z ~ N(mean, exp(ratio · log variance)²), the deviation at most 100."""
        deviation = (log_variance * self.noise_ratio).exp().clamp(max=100.0)
        return mean + deviation * torch.randn_like(deviation)

    def create_regulariser(self, num_classes: int) -> InformationBottleneck:
        """The published auxiliary loss on z, for training."""
        return InformationBottleneck(num_classes, self.num_features)


class InformationBottleneck(nn.Module):
    """λ₁ ‖mean z‖ + λ₂ mean squared distance between class means of z and fixed orthogonal priors.

    Source: InfoGCN section 3.4 (marginal and conditional maximum mean discrepancy), weights as released.
    """

    prior: Tensor

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        *,
        marginal: float = 1e-4,
        conditional: float = 0.1,
        gain: float = 3.0,
    ) -> None:
        super().__init__()
        self.num_classes, self.marginal, self.conditional = num_classes, marginal, conditional
        self.register_buffer("prior", nn.init.orthogonal_(torch.empty(num_classes, num_features), gain=gain))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """(N, D) latents, (N,) int labels → (), no unit. Classes absent from the batch do not count."""
        z = features.float()
        member = F.one_hot(labels, self.num_classes).to(z.dtype)
        count = member.sum(dim=0)
        means = (member.T @ z) / count.clamp(min=1.0).unsqueeze(1)
        distance = ((means - self.prior.to(z.dtype)) ** 2).mean(dim=1)
        present = (count > 0).to(z.dtype)
        conditional = (distance * present).sum() / present.sum().clamp(min=1.0)
        return self.marginal * z.mean(dim=0).norm() + self.conditional * conditional


def bone_matrix(layout: Layout, mode: int) -> Tensor:
    """I − Pᵏ with P[child, parent] = 1: each joint against its k-th ancestor; (V, V) float64."""
    root = ROOTS.get(layout.name, layout.centre)
    parents = reroot(layout, root)
    links = link_matrix([(parents[v], v) for v in range(layout.num_joints) if v != root], layout.num_joints)
    return torch.from_numpy(np.eye(layout.num_joints) - np.linalg.matrix_power(links, mode))


def infogcn_block_rules(ours: str, published: str) -> list[KeyRule]:
    graph, unit = rf"{ours}\.graph", f"{published}.agcn"
    return [
        KeyRule(rf"{graph}\.topology", f"{unit}.shared_topology"),
        *norm_rules(rf"{graph}\.norm", f"{unit}.attn.ln"),
        *norm_rules(rf"{graph}\.relate", f"{unit}.attn.to_qk"),
        KeyRule(rf"{graph}\.value\.weight", tuple(f"{unit}.conv_d.{h}.weight" for h in range(HEADS)), "cat"),
        KeyRule(rf"{graph}\.bias", tuple(f"{unit}.conv_d.{h}.bias" for h in range(HEADS)), "stack"),
        *graph_residual_rules(rf"{graph}\.finish", unit),
        *multi_scale_rules(rf"{ours}\.temporal", f"{published}.tcn.branches", 2),
        *residual_rules(ours, published),
    ]


InfoGCN.published_rules = (
    KeyRule("position", "pos_embedding"),
    *norm_rules("embed", "to_joint_embedding"),
    *norm_rules(r"input_norm\.norm", "data_bn"),
    *norm_rules("reduce", "fc"),
    *norm_rules("mean", "fc_mu"),
    *norm_rules("log_variance", "fc_logvar"),
    *norm_rules("classifier", "decoder"),
    *block_rules(len(NINE_BLOCKS), "l{number}", infogcn_block_rules),
)
