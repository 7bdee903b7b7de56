"""The multi-granular network (DualHead-Net): a fine and a coarse branch along time that gate each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.attention import JointConv, TimeConv
from mmcl_train.backbones.base import Backbone, BodyNorm, SummedHeads, create_linear, scale_channels
from mmcl_train.backbones.msg3d import SpatialTemporalStage, stage_rules
from mmcl_train.backbones.published import rules
from mmcl_train.backbones.temporal import norm_rules
from mmcl_train.graphs.adjacency import binary

SCALES = 9
COARSE_WINDOWS = (3,)
COARSE_DILATIONS = (1, 2)


class FineToCoarse(nn.Module):
    """1 + a gate over frames for the coarse branch, read off the fine branch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = TimeConv(channels)

    def forward(self, fine: Tensor) -> Tensor:
        """(N, C, T, V) → (N, 1, T, 1), from 1 to 2."""
        return 1 + self.conv(fine.mean(dim=3)).sigmoid().unsqueeze(3)


class CoarseToFine(nn.Module):
    """1 + a gate over joints for the fine branch, read off the coarse branch."""

    def __init__(self, channels: int, num_joints: int) -> None:
        super().__init__()
        self.conv = JointConv(channels, num_joints)

    def forward(self, coarse: Tensor) -> Tensor:
        """(N, C, T, V) → (N, 1, 1, V), from 1 to 2."""
        return 1 + self.conv(coarse.mean(dim=2)).sigmoid().unsqueeze(2)


class MGGCN(Backbone):
    """DualHead-Net: a shared stage, then a fine branch (all frames, half the channels) and a coarse one
    (every second frame, smaller temporal units). The joints are the same in both.

    The feature is the fine branch's followed by the coarse branch's; each has its own head, and the
    heads' logits are added.

    Source: Chen, Zhou, Wang, Wang, Guan, He, Ding, MM 2021 (arXiv:2108.04536).
    """

    publication = "DualHead-Net (MM 2021, arXiv:2108.04536)"
    year = 2021
    min_clip_length = 1
    published_rules = rules(
        norm_rules("input_norm.norm", "data_bn"),
        norm_rules("embed_fine", "embed_fine"),
        stage_rules(r"(1|\d_fine)", 4),
        stage_rules(r"(\d_coarse)", len(COARSE_DILATIONS)),
        norm_rules(r"frames_2\.conv", "conv_ta_fine_to_coarse_block_2_to_1"),
        norm_rules(r"frames_3\.conv", "conv_ta_fine_to_coarse_block_3_to_2"),
        norm_rules(r"joints_2\.conv", "conv_sa_coarse_to_fine_block_2_to_2"),
        norm_rules(r"joints_3\.conv", "conv_sa_coarse_to_fine_block_3_to_3"),
        norm_rules(r"classifier\.heads\.0", "fc_fine"),
        norm_rules(r"classifier\.heads\.1", "fc_coarse"),
    )

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
        skeleton = binary(layout)
        base = scale_channels(96, width, multiple=12)  # halved, it still divides into six temporal branches

        def stage(channels: int, outs: int, stride: int, *, coarse: bool = False) -> SpatialTemporalStage:
            parts = (COARSE_WINDOWS, COARSE_DILATIONS) if coarse else ()
            return SpatialTemporalStage(channels, channels, outs, channels, skeleton, SCALES, stride, *parts)

        self.input_norm = BodyNorm(in_channels, layout.num_joints, num_bodies)
        self.embed_fine = nn.Conv2d(base, base // 2, 1)
        self.stages = nn.ModuleDict(
            {
                "1": SpatialTemporalStage(in_channels, base, base, base, skeleton, SCALES, 1),
                "2_fine": stage(base // 2, base, 2),
                "3_fine": stage(base, 2 * base, 2),
                "2_coarse": stage(base, 2 * base, 2, coarse=True),
                "3_coarse": stage(2 * base, 4 * base, 2, coarse=True),
            }
        )
        self.frames_2 = FineToCoarse(base)
        self.frames_3 = FineToCoarse(2 * base)
        self.joints_2 = CoarseToFine(2 * base, layout.num_joints)
        self.joints_3 = CoarseToFine(4 * base, layout.num_joints)
        self.head_sizes = (2 * base, 4 * base)
        self.num_features = sum(self.head_sizes)

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) → (N, num_features), fine then coarse."""
        self.check_input(joints)
        x = self.stages["1"](self.input_norm(joints))  # (N·M, 96, T, V)
        fine = self.stages["2_fine"](self.embed_fine(x))  # (N·M, 96, T/2, V)
        coarse = self.stages["2_coarse"](x[:, :, ::2] * self.frames_2(fine))  # (N·M, 192, T/4, V)
        fine = self.stages["3_fine"](fine * self.joints_2(coarse))  # (N·M, 192, T/4, V)
        coarse = self.stages["3_coarse"](coarse * self.frames_3(fine))  # (N·M, 384, T/8, V)
        # The last gate is over joints alone, so the mean over time can go before it.
        gate = self.joints_3(coarse).squeeze(2)  # (N·M, 1, V)
        features = torch.cat(((fine.mean(dim=2) * gate).mean(dim=2), coarse.mean(dim=(2, 3))), dim=1)
        return features.unflatten(0, (-1, self.num_bodies)).mean(dim=1)

    def create_classifier(self, num_classes: int) -> nn.Module:
        """The fine and the coarse head, their logits added; linear layers as torch makes them."""
        return SummedHeads([create_linear(size, num_classes) for size in self.head_sizes])
