"""How large a backbone is: parameters and multiply-accumulates of one clip, without running it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmcl_cache.store import Layout
from mmcl_train.backbones import create_backbone


@dataclass(frozen=True)
class Size:
    """Of a backbone with its classifier.

    Attributes:
        parameters: trainable ones.
        macs: multiply-accumulates of the matrix products and convolutions of one clip's inference, as
            our formulation performs them (element-wise work and norms not counted).
    """

    parameters: int
    macs: int


def measure_size(
    name: str,
    *,
    layout: Layout,
    num_classes: int,
    num_bodies: int = 2,
    clip_length: int = 64,
    in_channels: int = 3,
    width: float = 1.0,
) -> Size:
    """Size of one registered backbone, by shapes alone (nothing is computed)."""
    backbone = create_backbone(
        name,
        layout=layout,
        num_bodies=num_bodies,
        clip_length=clip_length,
        in_channels=in_channels,
        width=width,
    )
    model = nn.Sequential(backbone, backbone.create_classifier(num_classes)).eval().to("meta")
    joints = torch.empty(1, in_channels, clip_length, layout.num_joints, num_bodies, device="meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(joints)
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Size(parameters, counter.get_total_flops() // 2)
