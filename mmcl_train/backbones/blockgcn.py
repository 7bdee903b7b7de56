"""BlockGCN: per-head graphs of learnt weights and bone distances, block-diagonal mixing, a topological prior."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.barcode import persistence_barcode
from mmcl_train.backbones.base import Backbone, BodyNorm, pool_bodies, scale_channels
from mmcl_train.backbones.blocks import (
    FRAME_RULES,
    GraphResidual,
    SpatialTemporalBlock,
    block_rules,
    create_residual,
    graph_residual_rules,
    residual_rules,
)
from mmcl_train.backbones.ctrgcn import create_temporal
from mmcl_train.backbones.initialise import init_norm
from mmcl_train.backbones.published import KeyRule, rules
from mmcl_train.backbones.temporal import multi_scale_rules, norm_rules
from mmcl_train.graphs.adjacency import hop_distances

SUBSETS = 3
HEADS = 8
EMBEDDING = 128  # channels of a joint before the first block, at width 1
# (channels at width 1, stride) of each block.
BLOCKS = (*[(128, 1)] * 4, (256, 2), *[(256, 1)] * 2, (256, 2), *[(256, 1)] * 2)
NUM_ELEMENTS = 64  # structure elements that read a barcode
NORM_FLOOR = 1e-4  # keeps the columns' division finite; the hop weights start at zero


class BlockGraphConv(nn.Module):
    """BlockGC: every head has its own graph and its own slice of channels, (N, C, T, V) → (N, C', T, V).

        y_h = Σ_k W_kh (x_h A_kh) + b_k,   A_kh = unit(joint_weight_kh) + unit(hop_weight_kh[hops])

    with `unit` dividing every column by its length. The three products are one, and the 3·H 1×1
    convolutions one grouped convolution with a tap for each subset.

    Source: BlockGCN (arXiv:2305.11468).
    """

    hops: Tensor

    def __init__(self, in_channels: int, out_channels: int, hops: NDArray[np.int64]) -> None:
        super().__init__()
        joints = hops.shape[0]
        self.register_buffer("hops", torch.tensor(hops), persistent=False)  # (V, V) bones between two joints
        self.joint_weight = nn.Parameter(torch.eye(joints).repeat(SUBSETS, HEADS, 1, 1))  # (K, H, V, V)
        self.hop_weight = nn.Parameter(torch.zeros(SUBSETS, HEADS, int(hops.max()) + 1))
        self.weight = nn.Parameter(torch.empty(SUBSETS, out_channels, in_channels // HEADS))
        self.bias = nn.Parameter(torch.zeros(SUBSETS, out_channels))
        self.finish = GraphResidual(in_channels, out_channels)
        nn.init.normal_(self.weight, 0.0, math.sqrt(2.0 / out_channels))  # He-normal by fan-out
        init_norm(self.finish.norm)  # not 1e-6: the publication sets all norms to one at last

    def graphs(self) -> Tensor:
        """(K, H, V, V)."""
        by_hops = self.hop_weight[:, :, self.hops]
        return _unit_columns(self.joint_weight) + _unit_columns(by_hops)

    def forward(self, x: Tensor) -> Tensor:
        n, channels, frames, joints = x.shape
        side_by_side = self.graphs().permute(1, 2, 0, 3).flatten(2)  # (H, V, K·V)
        aggregated = x.reshape(n, HEADS, -1, joints) @ side_by_side  # (N, H, C/H · T, K·V)
        aggregated = aggregated.reshape(n, channels, frames, SUBSETS * joints)
        taps = self.weight.permute(1, 2, 0).unsqueeze(2)  # (C', C/H, 1, K): joint w of every subset
        bias = self.bias.sum(dim=0)
        y = F.conv2d(aggregated, taps, bias, dilation=(1, joints), groups=HEADS)
        return self.finish(y, x)


def _unit_columns(matrices: Tensor) -> Tensor:
    """Divide every column by its length plus a floor; (..., V, V)."""
    return matrices / (torch.linalg.vector_norm(matrices, dim=-2, keepdim=True) + NORM_FLOOR)


class BarcodeReader(nn.Module):
    """A barcode as one offset for each block's channels: (N, V - 1) → (N, sum of channels).

    Structure element e sums over the bars (birth 0, death d):
    exp(-(s_e0 c_e0)² - (s_e1 (c_e1 - d))²). Then for each block a linear layer, norm, ReLU; the
    blocks' layers are held as one.

    Source: Hofer et al., "Deep Learning with Topological Signatures" (arXiv:1707.04041).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.rand(NUM_ELEMENTS, 2))
        self.sharpness = nn.Parameter(torch.full((NUM_ELEMENTS, 2), 3.0))
        self.linear = nn.Linear(NUM_ELEMENTS, channels)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, barcode: Tensor) -> Tensor:
        birth = self.sharpness[:, 0] * self.centres[:, 0]  # (E,)
        death = self.sharpness[:, 1] * (self.centres[:, 1] - barcode.unsqueeze(-1))  # (N, V - 1, E)
        elements = torch.exp(-birth.square() - death.square()).sum(dim=1)  # (N, E)
        # Every sample counts twice in the norm, as published for two bodies: the statistics are the
        # same, and one sample alone can be trained on.
        twice = self.linear(elements).unsqueeze(-1).expand(-1, -1, 2)
        return F.relu(self.norm(twice)[..., 0])


class BlockGCN(Backbone):
    """BlockGCN, ten blocks of 128 and 256 channels in eight heads.

    The topological input is a constant of the clip. Give it to `forward` where it is kept with the
    samples; without it, it is computed there, without gradient (tensor code, exports).

    Unlike the release, a sample's barcode goes to the sample's own bodies (the release tiles the
    barcodes of the batch over its bodies in the wrong order: body m of sample n gets the barcode of
    another sample as soon as there are two of each), and is scaled within the sample.
    The publication's joint stream is centred frame by frame on the spine; that is the stream's affair.

    Source: Zhou, Yan, Cheng, Yan, Dai, Hua, CVPR 2024 (arXiv:2305.11468).
    """

    publication = "BlockGCN (CVPR 2024, arXiv:2305.11468)"
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
        hops = hop_distances(layout)
        last = scale_channels(EMBEDDING, width, HEADS)
        self.embed = nn.Linear(in_channels, last)
        self.place = nn.Parameter(torch.randn(layout.num_joints, last))  # of a joint on the body
        self.input_norm = BodyNorm(last, layout.num_joints, num_bodies)
        blocks: list[SpatialTemporalBlock] = []
        self.block_channels: list[int] = []  # in, of each block
        for channels, stride in BLOCKS:
            out = scale_channels(channels, width, HEADS)
            graph = BlockGraphConv(last, out, hops)
            blocks.append(
                SpatialTemporalBlock(graph, create_temporal(out, stride), create_residual(last, out, stride))
            )
            self.block_channels.append(last)
            last = out
        self.blocks = nn.ModuleList(blocks)
        self.topology = BarcodeReader(sum(self.block_channels))
        self.num_features = last

    def forward(self, joints: Tensor, barcode: Tensor | None = None) -> Tensor:
        """Features of a batch.

        Args:
            joints: (N, C, T, V, M).
            barcode: (N, V - 1) what `persistence_barcode` gives for the samples, if it is at hand.

        Returns:
            (N, num_features).
        """
        self.check_input(joints)
        if barcode is None:
            barcode = persistence_barcode(joints)
        barcode = barcode.to(self.topology.centres.dtype)
        offsets = self.topology(barcode).repeat_interleave(self.num_bodies, dim=0)[..., None, None]
        x = self.input_norm(self.embed_joints(joints))
        for block, offset in zip(self.blocks, offsets.split(self.block_channels, dim=1), strict=True):
            x = block(x + offset)
        return pool_bodies(x, self.num_bodies)

    def embed_joints(self, joints_NCTVM: Tensor) -> Tensor:
        """(N, C, T, V, M) → (N, E, T, V, M): a linear map of each joint plus where it sits on the body."""
        x = self.embed.weight @ joints_NCTVM.permute(0, 4, 3, 1, 2)  # (N, M, V, E, T)
        x = x + (self.embed.bias + self.place).unsqueeze(-1)
        return x.permute(0, 3, 4, 2, 1)


def _block_rules(ours: str, published: str) -> list[KeyRule]:
    graph, unit = rf"{ours}\.graph", f"{published}.gcn1"
    return [
        KeyRule(rf"{graph}\.joint_weight", f"{unit}.fc1"),
        KeyRule(rf"{graph}\.hop_weight", f"{unit}.rpe"),
        KeyRule(rf"{graph}\.(weight|bias)", tuple(rf"{unit}.fc2.{k}.\1" for k in range(SUBSETS)), "stack"),
        *graph_residual_rules(rf"{graph}\.finish", unit),
        *multi_scale_rules(rf"{ours}\.temporal", f"{published}.tcn1.branches", 2),
        *residual_rules(ours, published),
    ]


BlockGCN.published_rules = rules(
    FRAME_RULES,
    norm_rules("embed", "to_joint_embedding"),
    KeyRule("place", "pos_embedding"),
    KeyRule(r"topology\.(centres|sharpness)", r"topo.pl.\1"),
    KeyRule(r"topology\.linear\.(\w+)", tuple(rf"t{block}.mlp.\1" for block in range(len(BLOCKS))), "cat"),
    KeyRule(r"topology\.norm\.(\w+)", tuple(rf"t{block}.bn.\1" for block in range(len(BLOCKS))), "cat"),
    block_rules(len(BLOCKS), "l{number}", _block_rules),
)
