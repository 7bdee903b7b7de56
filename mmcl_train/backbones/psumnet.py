"""PSUMNet: all four input streams at once, one network for each part of the body.

The blocks are CTR-GCN's. A model is one part (body, hands or legs); the publication trains the three
apart and adds their scores, weighted 2.2, 1.5 and 0.7 on NTU-120 X-Sub.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.base import Backbone, BodyNorm, pool_bodies
from mmcl_train.backbones.blocks import FRAME_RULES, TEN_BLOCKS, block_rules, create_blocks
from mmcl_train.backbones.body_parts import find_part
from mmcl_train.backbones.ctrgcn import ChannelTopologyConv, create_temporal, ctr_block_rules

STACKED_CHANNELS = 12  # joint, bone, joint motion, bone motion of x, y, z
# The parts' own depths: (channels at width 1, stride) of each block.
HAND_BLOCKS = ((64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1))
LEG_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2))


def stack_streams(joints_NCTVM: Tensor, bone_ends: Tensor) -> Tensor:
    """Joint, bone, joint motion and bone motion as channels: (N, C, T, V, M) → (N, 4·C, T, V, M).

    Args:
        joints_NCTVM: the joints.
        bone_ends: (V,) the joint each one's bone starts from; itself where it has none.
    """
    bones = joints_NCTVM - joints_NCTVM.index_select(3, bone_ends)
    still = torch.cat([joints_NCTVM, bones], dim=1)
    motion = F.pad(still[:, :, 1:] - still[:, :, :-1], (0, 0, 0, 0, 0, 1))  # the last frame's is zero
    return torch.cat([still, motion], dim=1)


class PSUMNet(Backbone):
    """PSUMNet of the whole body.

    With `in_channels=12` the input is the four streams already stacked; with any other count it is
    the joints themselves (stream "joint"), and the streams are made here, from the part's own tree.
    Either way it is the whole skeleton: a part picks its joints.

    Source: Trivedi, Sarvadevabhatla, ECCV workshops 2022 (arXiv:2208.05775).
    """

    publication = "PSUMNet, body (ECCVW 2022, arXiv:2208.05775)"
    year = 2022
    min_clip_length = 1
    published_rules = (*FRAME_RULES, *block_rules(len(TEN_BLOCKS), "layers.{index}", ctr_block_rules))
    part: ClassVar[str] = "body"
    plan: ClassVar[Sequence[tuple[int, int]]] = TEN_BLOCKS

    part_joints: Tensor
    bone_ends: Tensor

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
        part = find_part(layout, self.part)
        self.register_buffer("part_joints", torch.tensor(part.joints), persistent=False)
        self.register_buffer("bone_ends", torch.tensor(part.bone_ends), persistent=False)
        self.is_stacked = in_channels == STACKED_CHANNELS
        channels = in_channels if self.is_stacked else 4 * in_channels
        adjacency = torch.tensor(part.spatial_stack(), dtype=torch.get_default_dtype())

        def create_parts(in_channels: int, out_channels: int, stride: int) -> tuple[nn.Module, nn.Module]:
            graph = ChannelTopologyConv(in_channels, out_channels, adjacency)
            return graph, create_temporal(out_channels, stride)

        self.input_norm = BodyNorm(channels, len(part.joints), num_bodies)
        self.blocks, self.num_features = create_blocks(channels, width, create_parts, self.plan)

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) → (N, num_features)."""
        self.check_input(joints)
        streams = joints if self.part == "body" else joints.index_select(3, self.part_joints)
        if not self.is_stacked:
            streams = stack_streams(streams, self.bone_ends)
        return pool_bodies(self.blocks(self.input_norm(streams)), self.num_bodies)


class PSUMNetHand(PSUMNet):
    """PSUMNet of the two arms: six blocks."""

    publication = "PSUMNet, hands (ECCVW 2022, arXiv:2208.05775)"
    part = "hand"
    plan = HAND_BLOCKS


class PSUMNetLeg(PSUMNet):
    """PSUMNet of the two legs: four blocks."""

    publication = "PSUMNet, legs (ECCVW 2022, arXiv:2208.05775)"
    part = "leg"
    plan = LEG_BLOCKS
