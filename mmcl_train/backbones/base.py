"""What every backbone is: joints in, one feature vector a clip out, and nothing of the method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.norm import widen
from mmcl_train.backbones.published import KeyRule


class Backbone(nn.Module):
    """Base of all backbones: (N, C, T, V, M) joints → (N, num_features).

    A subclass takes the same keyword arguments (and perhaps more, with defaults), sets the class
    attributes, calls `super().__init__` with its sizes and sets `num_features`; its `forward` starts
    with `self.check_input(joints)`.
    """

    publication: ClassVar[str] = ""  # "CTR-GCN (ICCV 2021, arXiv:2107.12213)"
    year: ClassVar[int] = 0
    min_clip_length: ClassVar[int] = 4  # frames that survive two strides of 2
    clip_multiple: ClassVar[int] = 1  # T must be a multiple of this
    fixed_clip_length: ClassVar[bool] = False  # T must be the clip_length it was built for
    published_rules: tuple[KeyRule, ...] = ()  # our name → published name(s); see published.py
    published_ignored: tuple[str, ...] = ()  # regexes of published keys that hold nothing of ours
    published_aliases: Mapping[str, str] = MappingProxyType(
        {}
    )  # second names of one tensor: regex → template

    # Whether `forward` takes the bodies to compute (`absent.BodyRows`) beside the joints.
    merges_absent_bodies: ClassVar[bool] = False

    own_auxiliary: ClassVar[str] = ""  # the objective of `method.auxiliary` that its publication trains with

    num_features: int
    remark: str = ""  # what a user of this layout should know: a graph derived where nothing is published
    num_graph_features: int = 0  # length of `forward_with_graph`'s graph; 0: it gives none

    def __init__(
        self,
        *,
        layout: Layout,
        num_bodies: int = 2,
        clip_length: int = 64,
        in_channels: int = 3,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if width <= 0:
            raise ValueError(f"width must be positive, got {width}")
        if num_bodies < 1 or in_channels < 1:
            raise ValueError(f"num_bodies and in_channels must be positive, got {num_bodies}, {in_channels}")
        self.layout = layout
        self.num_bodies = num_bodies
        self.clip_length = clip_length
        self.in_channels = in_channels
        self.width = width
        self.check_clip_length(clip_length)

    def check_clip_length(self, length: int) -> None:
        """ValueError unless a clip of `length` frames can pass the strides."""
        name = type(self).__name__
        if length < self.min_clip_length:
            raise ValueError(
                f"{name}: a clip of {length} frames is too short; "
                f"use clip_length >= {self.min_clip_length} (its strides leave nothing otherwise)"
            )
        if length % self.clip_multiple:
            raise ValueError(f"{name}: clip_length {length} is not a multiple of {self.clip_multiple}")
        if self.fixed_clip_length and length != self.clip_length:
            raise ValueError(f"{name}: built for clips of {self.clip_length} frames, got {length}")

    def check_input(self, joints: Tensor) -> None:
        """ValueError unless `joints` is (N, C, T, V, M) with this backbone's C, V and M."""
        expected = (self.in_channels, self.layout.num_joints, self.num_bodies)
        if joints.ndim != 5 or (joints.shape[1], joints.shape[3], joints.shape[4]) != expected:
            raise ValueError(
                f"{type(self).__name__}: joints must be (N, C={expected[0]}, T, V={expected[1]}, "
                f"M={expected[2]}), got {tuple(joints.shape)}"
            )
        self.check_clip_length(joints.shape[2])

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) joints → (N, num_features)."""
        raise NotImplementedError

    def map_shapes(self, clip_length: int) -> tuple[tuple[int, int], ...]:
        """(channels, frames) of each map of `forward_with_maps`, early to late; empty: it gives none."""
        return ()

    def forward_with_maps(self, joints: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features as `forward`, and feature maps (N·M, C, T, V) on the way, for an auxiliary objective."""
        raise NotImplementedError

    def forward_with_graph(self, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Features as `forward`, and the graph inferred of each sample, (N, num_graph_features), for the same."""
        raise NotImplementedError

    def create_classifier(self, num_classes: int) -> nn.Module:
        """(N, num_features) → (N, num_classes): Linear, N(0, 2 / num_classes) weights as in 2s-AGCN."""
        return create_linear(self.num_features, num_classes, std=math.sqrt(2.0 / num_classes))

    def create_regulariser(self, num_classes: int) -> nn.Module | None:
        """The publication's own auxiliary loss, (features (N, D), labels (N,)) → (); None where it has none.

        It is a part of training, not of the model: it lives in the task and is thrown away with it.
        """
        return None


def create_linear(num_features: int, num_classes: int, *, std: float | None = None) -> nn.Linear:
    """A linear classifier; weights N(0, std²) when `std` is given, the bias as torch makes it."""
    linear = nn.Linear(num_features, num_classes)
    if std is not None:
        nn.init.normal_(linear.weight, 0.0, std)
    return linear


class SummedHeads(nn.Module):
    """Several linear heads, each on its own slice of the feature; the logits are their sum."""

    def __init__(self, heads: list[nn.Linear]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.sizes = [head.in_features for head in heads]

    def forward(self, features: Tensor) -> Tensor:
        """(N, sum of the heads' features) → (N, num_classes)."""
        parts = features.split(self.sizes, dim=1)
        return torch.stack([head(part) for head, part in zip(self.heads, parts, strict=True)]).sum(dim=0)


class BodyNorm(nn.Module):
    """Batch norm of the raw joints, bodies unfolded into the batch: (N, C, T, V, M) → (N·M, C, T, V).

    `per_body=True` keeps statistics for every (body, joint, channel), as the CTR-GCN family does;
    False shares them between bodies, as ST-GCN does. The published parameter order (M, V, C) holds.
    """

    def __init__(self, channels: int, num_joints: int, num_bodies: int, *, per_body: bool = True) -> None:
        super().__init__()
        self.per_body = per_body
        self.norm = nn.BatchNorm1d(channels * num_joints * (num_bodies if per_body else 1))

    def forward(self, joints_NCTVM: Tensor) -> Tensor:
        n, c, t, v, m = joints_NCTVM.shape
        x = joints_NCTVM.permute(0, 4, 3, 1, 2)  # (N, M, V, C, T)
        x = x.reshape(n, m * v * c, t) if self.per_body else x.reshape(n * m, v * c, t)
        x = self.norm(x)
        return x.reshape(n * m, v, c, t).permute(0, 2, 3, 1).contiguous()


def pool_bodies(x: Tensor, num_bodies: int, source: Tensor | None = None) -> Tensor:
    """(N·M, C, T, V) → (N, C): mean over time and joints, then over bodies.

    With `source` (N·M,) `x` holds fewer rows, and says which of them each of the N·M is; a row that stands for
    many is sent the sum of their gradients, which half precision could not hold.
    """
    pooled = x.mean(dim=(2, 3))
    if source is not None:
        pooled = widen(pooled)[source]
    return pooled.unflatten(0, (-1, num_bodies)).mean(dim=1)


def scale_channels(channels: int, width: float, multiple: int = 8) -> int:
    """`channels · width`, rounded to a positive multiple of `multiple`; `channels` itself at width 1."""
    if width <= 0:
        raise ValueError(f"width must be positive, got {width}")
    if width == 1.0:
        return channels
    return max(multiple, round(channels * width / multiple) * multiple)
