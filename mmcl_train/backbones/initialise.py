"""Weight initialisations as the publications make them."""

from __future__ import annotations

import math

from torch import Tensor, nn

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d


def init_conv_fan_out(conv: Conv, parts: int = 1) -> None:
    """He-normal by fan-out, zero bias (2s-AGCN and its line).

    `parts`: how many published convolutions of equal size are held in this one along its outputs;
    each is initialised by its own fan-out.
    """
    for weight in conv.weight.detach().chunk(parts, dim=0):
        nn.init.kaiming_normal_(weight, mode="fan_out")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def init_conv_splits(conv: Conv, sizes: list[int]) -> None:
    """As `init_conv_fan_out`, for held convolutions of the output sizes `sizes`."""
    for weight in conv.weight.detach().split(sizes, dim=0):
        nn.init.kaiming_normal_(weight, mode="fan_out")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def init_conv_branch(weight: Tensor, branches: int) -> None:
    """N(0, 2 / (out · in · k · branches)) for one of `branches` convolutions whose outputs are summed.

    Source: the released 2s-AGCN.
    """
    out_channels, in_channels, kernel = weight.shape[:3]
    nn.init.normal_(weight, 0.0, math.sqrt(2.0 / (out_channels * in_channels * kernel * branches)))


def init_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, scale: float = 1.0) -> None:
    """Weight `scale`, bias zero; 1e-6 makes a residual branch start as nothing."""
    nn.init.constant_(norm.weight, scale)
    nn.init.zeros_(norm.bias)


def init_norm_normal(norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) -> None:
    """Weight N(1, 0.02²), bias zero (MS-G3D's temporal units and what took them over)."""
    nn.init.normal_(norm.weight, 1.0, 0.02)
    nn.init.zeros_(norm.bias)
