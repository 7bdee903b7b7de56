"""What ST-GCN++, DG-STGCN and ProtoGCN share: six-branch temporal units, blocks and the stage plan.

Source: ST-GCN++ (MM 2022, arXiv:2205.09443) and DG-STGCN (arXiv:2210.05895), as released in PYSKL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_train.backbones.base import create_linear, scale_channels
from mmcl_train.backbones.published import KeyRule, rules
from mmcl_train.backbones.temporal import (
    MultiScaleTemporalConv,
    TemporalConv,
    first_takes_rest,
    multi_scale_rules,
    norm_rules,
    temporal_rules,
)

KERNELS = ((3, 1), (3, 2), (3, 3), (3, 4))  # (frames, dilation); then a max pooling and a bare 1×1


@dataclass(frozen=True)
class Stage:
    """One block of the stack: channels in and out, temporal stride, and whether it has a residual."""

    in_channels: int
    out_channels: int
    stride: int
    residual: bool


def plan_stages(in_channels: int, base_channels: int, width: float) -> list[Stage]:
    """Ten blocks; the fifth and the eighth double the channels and halve the frames."""
    stages: list[Stage] = []
    last, channels = in_channels, scale_channels(base_channels, width)
    for number in range(1, 11):
        deeper = number in (5, 8)
        channels = channels * 2 if deeper else channels
        stages.append(Stage(last, channels, 2 if deeper else 1, residual=number > 1))
        last = channels
    return stages


class MultiBranchTemporal(nn.Module):
    """Six parallel branches, then norm – ReLU – 1×1 – norm: (N, C, T, V) → (N, C, ceil(T / stride), V).

    With `num_joints`, the mean over joints runs through the branches as one more joint, and each joint
    v gets its result back times `mean_scale[v]` (DG-STGCN's global feature; the scale starts at 0).
    """

    def __init__(self, channels: int, stride: int, num_joints: int | None = None) -> None:
        super().__init__()
        sizes = first_takes_rest(channels, len(KERNELS) + 2)
        self.branches = MultiScaleTemporalConv(channels, sizes, KERNELS, stride, end_norm=False)
        self.mean_scale = nn.Parameter(torch.zeros(num_joints)) if num_joints is not None else None
        self.mix_norm = nn.BatchNorm2d(channels)
        self.mix = nn.Conv2d(channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.mean_scale is None:
            y = self.branches(x)
        else:
            y = self.branches(torch.cat([x, x.mean(-1, keepdim=True)], dim=-1))  # (N, C, T', V + 1)
            y = y[..., :-1] + y[..., -1:] * self.mean_scale
        return self.norm(self.mix(F.relu(self.mix_norm(y))))


class Block(nn.Module):
    """Graph unit, temporal unit, residual: (N, C, T, V) → (N, C', ceil(T / stride), V)."""

    def __init__(self, stage: Stage, graph: nn.Module, num_joints: int | None = None) -> None:
        super().__init__()
        self.graph = graph
        self.temporal = MultiBranchTemporal(stage.out_channels, stage.stride, num_joints)
        self.residual: nn.Module | None = None
        if stage.residual:
            same = stage.in_channels == stage.out_channels and stage.stride == 1
            self.residual = (
                nn.Identity()
                if same
                else TemporalConv(stage.in_channels, stage.out_channels, 1, stage.stride)
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(x, self.graph(x))

    def finish(self, x: Tensor, aggregated: Tensor) -> Tensor:
        """The rest of the block; `aggregated` is what the graph unit made of the block's input `x`."""
        y = self.temporal(aggregated)
        return F.relu(y if self.residual is None else y + self.residual(x))


def stack_blocks(
    stages: list[Stage], create_graph: Callable[[Stage], nn.Module], num_joints: int | None = None
) -> nn.ModuleList:
    """The blocks of a plan; `num_joints` gives their temporal units the mean joint."""
    return nn.ModuleList(Block(stage, create_graph(stage), num_joints) for stage in stages)


def create_down(in_channels: int, out_channels: int) -> nn.Module | None:
    """Residual path of a graph unit: 1×1 and norm where the channels change, None (as it is) otherwise."""
    if in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))


def create_small_classifier(num_features: int, num_classes: int) -> nn.Linear:
    """PYSKL's head: N(0, 0.01²) weights, zero bias."""
    linear = create_linear(num_features, num_classes, std=0.01)
    nn.init.zeros_(linear.bias)
    return linear


_BLOCK, _PUBLISHED = r"blocks\.(\d+)", r"backbone.gcn.\1"
MULTIBRANCH_RULES = rules(
    norm_rules(r"body_norm\.norm", "backbone.data_bn"),
    multi_scale_rules(
        rf"{_BLOCK}\.temporal\.branches",
        rf"{_PUBLISHED}.tcn.branches",
        len(KERNELS),
        end_norm=False,
        point_conv="",
    ),
    KeyRule(rf"{_BLOCK}\.temporal\.mean_scale", rf"{_PUBLISHED}.tcn.add_coeff"),
    norm_rules(rf"{_BLOCK}\.temporal\.mix_norm", rf"{_PUBLISHED}.tcn.transform.0"),
    norm_rules(rf"{_BLOCK}\.temporal\.mix", rf"{_PUBLISHED}.tcn.transform.2"),
    norm_rules(rf"{_BLOCK}\.temporal\.norm", rf"{_PUBLISHED}.tcn.bn"),
    temporal_rules(rf"{_BLOCK}\.residual", rf"{_PUBLISHED}.residual"),
    KeyRule(rf"{_BLOCK}\.graph\.adjacency", rf"{_PUBLISHED}.gcn.A"),
    norm_rules(rf"{_BLOCK}\.graph\.norm", rf"{_PUBLISHED}.gcn.bn"),
    norm_rules(rf"{_BLOCK}\.graph\.down\.([01])", rf"{_PUBLISHED}.gcn.down.\2"),
    norm_rules("classifier", "cls_head.fc_cls"),
)
