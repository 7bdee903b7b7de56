"""MS-G3D: disentangled multi-scale graphs, over the joints of a frame and of a window of frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.base import Backbone, BodyNorm, create_linear, pool_bodies, scale_channels
from mmcl_train.backbones.graph_convolution import aggregate_then_mix
from mmcl_train.backbones.published import KeyRule, rules
from mmcl_train.backbones.temporal import (
    MultiScaleTemporalConv,
    TemporalConv,
    even_sizes,
    multi_scale_rules,
    norm_rules,
    temporal_rules,
)
from mmcl_train.graphs.adjacency import Matrix, binary, disentangled_stack

WINDOW_SCALES = 6
WINDOWS = (3, 5)
DILATIONS = (1, 2, 3, 4)


class MultiScaleGraphConv(nn.Module):
    """Graph convolution over k-hop neighbourhoods, k = 0 … scales - 1, with a learnt residual graph."""

    def __init__(self, in_channels: int, out_channels: int, skeleton: Matrix, scales: int) -> None:
        super().__init__()
        self.scales = scales
        # Rows are the K·V receiving joints, columns the V sending ones.
        self.graph = _scale_graphs(skeleton, scales)
        self.residual_graph = nn.Parameter(torch.empty_like(self.graph).uniform_(-1e-6, 1e-6))
        self.mix = nn.Conv2d(in_channels * scales, out_channels, 1)  # scale by scale
        self.norm = nn.BatchNorm2d(out_channels)

    graph: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T, V)."""
        graph = (self.graph + self.residual_graph).unflatten(0, (self.scales, -1)).transpose(1, 2)
        weight = self.mix.weight.view(self.mix.out_channels, self.scales, -1).transpose(0, 1)
        return F.relu(self.norm(aggregate_then_mix(x, graph, weight, self.mix.bias)), inplace=True)


class WindowGraphConv(nn.Module):
    """G3D: multi-scale graph convolution over all joints of τ frames at once, then the window is collapsed.

    As published, windows are unfolded, (N, C, T', τ·V), multiplied with the (K·τ·V, τ·V) graph and mixed.
    Unfolding and multiplying are together a convolution along time whose "channels" are the joints.
    With time innermost, (N, C, V, T), every step is then a plain convolution of a view. Where the
    mixing does not widen, it goes first, on the clip and not on its τ-fold unfolded copy.

    Source: MS-G3D (arXiv:2003.14111), section 3.3.

    Args:
        in_channels: C.
        embedded: channels inside the window.
        out_channels: C'.
        skeleton: (V, V), 0/1, without self links.
        scales: K.
        window: τ, odd.
        stride: of the windows along T.
    """

    def __init__(
        self,
        in_channels: int,
        embedded: int,
        out_channels: int,
        skeleton: Matrix,
        scales: int,
        window: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.scales, self.window, self.stride = scales, window, stride
        self.mix_first = in_channels >= embedded
        # Every joint is linked with itself and its neighbours in every frame of the window.
        self.graph = _scale_graphs(np.tile(skeleton + np.eye(len(skeleton)), (window, window)), scales)
        self.residual_graph = nn.Parameter(torch.empty_like(self.graph).uniform_(-1e-6, 1e-6))
        self.mix = nn.Conv2d(in_channels * scales, embedded, 1)  # scale by scale
        self.norm = nn.BatchNorm2d(embedded)
        self.collapse = nn.Conv2d(embedded, out_channels, (window, 1))
        self.collapse_norm = nn.BatchNorm2d(out_channels)

    graph: Tensor

    def forward(self, x_NCVT: Tensor) -> Tensor:
        """(N, C, V, T) → (N, C', V, ceil(T / stride)), no activation."""
        joints = x_NCVT.shape[2]
        embedded = self._mix_then_aggregate(x_NCVT) if self.mix_first else self._aggregate_then_mix(x_NCVT)
        embedded = F.relu(self.norm(embedded), inplace=True)  # (N, E, τ·V, T')
        frames = embedded.unflatten(2, (self.window, joints)).flatten(1, 2)  # (N, E·τ, V, T')
        weight = self.collapse.weight.flatten(1)[..., None, None]
        return self.collapse_norm(F.conv2d(frames, weight, self.collapse.bias))

    def _mix_then_aggregate(self, x: Tensor) -> Tensor:
        n, _, joints, length = x.shape
        outs, large = self.mix.out_channels, self.window * joints
        weight = self.mix.weight.reshape(outs * self.scales, -1, 1, 1)
        mixed = F.conv2d(x, weight).reshape(n * outs, self.scales * joints, length)
        kernel = (self.graph + self.residual_graph).view(self.scales, large, self.window, joints)
        kernel = kernel.permute(1, 0, 3, 2).reshape(large, self.scales * joints, self.window)
        aggregated = self._slide(mixed, kernel).reshape(n, outs, large, -1)
        return aggregated if self.mix.bias is None else aggregated + self.mix.bias[:, None, None]

    def _aggregate_then_mix(self, x: Tensor) -> Tensor:
        n, channels, joints, length = x.shape
        large = self.window * joints
        kernel = (self.graph + self.residual_graph).view(self.scales * large, self.window, joints)
        aggregated = self._slide(x.reshape(n * channels, joints, length), kernel.transpose(1, 2))
        weight = self.mix.weight.view(self.mix.out_channels, self.scales, channels).transpose(1, 2)
        aggregated = aggregated.reshape(n, channels * self.scales, large, -1)
        return F.conv2d(aggregated, weight.flatten(1)[..., None, None], self.mix.bias)

    def _slide(self, x: Tensor, kernel: Tensor) -> Tensor:
        padding = (self.window - 1) // 2
        return F.conv1d(x, kernel.contiguous(), stride=self.stride, padding=padding)


def _scale_graphs(links: Matrix, scales: int) -> nn.Buffer:
    """The k-hop graphs of `links` one below the other, (scales·V, V)."""
    stacked = disentangled_stack(links, scales).reshape(-1, len(links))
    return nn.Buffer(torch.tensor(stacked, dtype=torch.get_default_dtype()), persistent=False)


class TemporalUnit(nn.Module):
    """Multi-scale temporal convolution with its residual and, unless it ends a path, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        dilations: Sequence[int] = DILATIONS,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.activate = activate
        self.branches = MultiScaleTemporalConv(
            in_channels,
            even_sizes(out_channels, len(dilations) + 2),
            [(3, dilation) for dilation in dilations],
            stride,
        )
        same = in_channels == out_channels and stride == 1
        self.residual = nn.Identity() if same else TemporalConv(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', ceil(T / stride), V)."""
        y = self.branches(x) + self.residual(x)
        return F.relu(y, inplace=True) if self.activate else y


class SpatialTemporalStage(nn.Module):
    """The factorised path (graph, then time) beside the windows' path; their sum; one more temporal unit.

    Args:
        in_channels: C.
        inner: channels of the factorised path's graph convolution.
        out_channels: C'.
        embedded: channels inside the windows.
        skeleton: (V, V), 0/1, without self links.
        scales: of the factorised path.
        stride: along T.
        windows: window lengths τ.
        dilations: of the temporal units.
    """

    def __init__(
        self,
        in_channels: int,
        inner: int,
        out_channels: int,
        embedded: int,
        skeleton: Matrix,
        scales: int,
        stride: int,
        windows: Sequence[int] = WINDOWS,
        dilations: Sequence[int] = DILATIONS,
    ) -> None:
        super().__init__()
        self.path = nn.Sequential(
            MultiScaleGraphConv(in_channels, inner, skeleton, scales),
            TemporalUnit(inner, out_channels, stride, dilations=dilations),
            TemporalUnit(out_channels, out_channels, dilations=dilations, activate=False),
        )
        self.windows = nn.ModuleList(
            WindowGraphConv(in_channels, embedded, out_channels, skeleton, WINDOW_SCALES, window, stride)
            for window in windows
        )
        self.after = TemporalUnit(out_channels, out_channels, dilations=dilations)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', ceil(T / stride), V)."""
        x_NCVT = x.transpose(2, 3).contiguous()
        windows = self.windows[0](x_NCVT)
        for window in self.windows[1:]:
            windows = windows + window(x_NCVT)
        return self.after(F.relu(self.path(x) + windows.transpose(2, 3), inplace=True))


def stage_rules(stage: str, num_dilations: int) -> tuple[KeyRule, ...]:
    r"""`stages.<stage>`'s tensors; `stage` is a regex of one group whose text ends the published names."""
    ours = rf"stages\.{stage}"
    graph = (r"\.path\.0", r"sgcn\1.0")
    window = (r"\.windows\.(\d)", r"gcn3d\1.gcn3d.\2")
    return rules(
        KeyRule(rf"{ours}{graph[0]}\.residual_graph", f"{graph[1]}.A_res"),
        norm_rules(rf"{ours}{graph[0]}\.mix", f"{graph[1]}.mlp.layers.0"),
        norm_rules(rf"{ours}{graph[0]}\.norm", f"{graph[1]}.mlp.layers.1"),
        KeyRule(rf"{ours}{window[0]}\.residual_graph", f"{window[1]}.gcn3d.1.A_res"),
        norm_rules(rf"{ours}{window[0]}\.mix", f"{window[1]}.gcn3d.1.mlp.layers.0"),
        norm_rules(rf"{ours}{window[0]}\.norm", f"{window[1]}.gcn3d.1.mlp.layers.1"),
        norm_rules(rf"{ours}{window[0]}\.collapse", f"{window[1]}.out_conv"),
        norm_rules(rf"{ours}{window[0]}\.collapse_norm", f"{window[1]}.out_bn"),
        multi_scale_rules(rf"{ours}\.path\.(\d)\.branches", r"sgcn\1.\2.branches", num_dilations),
        temporal_rules(rf"{ours}\.path\.(\d)\.residual", r"sgcn\1.\2.residual"),
        multi_scale_rules(rf"{ours}\.after\.branches", r"tcn\1.branches", num_dilations),
        temporal_rules(rf"{ours}\.after\.residual", r"tcn\1.residual"),
    )


class MSG3D(Backbone):
    """One stream of MS-G3D: three stages of 96, 192, 384 channels, 13 scales, windows of 3 and 5 frames.

    Source: Liu, Zhang, Chen, Wang, Ouyang, CVPR 2020 (arXiv:2003.14111).
    """

    publication = "MS-G3D (CVPR 2020, arXiv:2003.14111)"
    year = 2020
    min_clip_length = 1
    published_rules = rules(
        norm_rules("input_norm.norm", "data_bn"),
        norm_rules("classifier", "fc"),
        stage_rules(r"(\d)", len(DILATIONS)),
    )
    scales = 13

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
        base = scale_channels(96, width, multiple=6)  # six temporal branches
        self.input_norm = BodyNorm(in_channels, layout.num_joints, num_bodies)
        self.stages = nn.ModuleDict(
            {
                # Only the first stage widens inside its windows; the others when they collapse.
                "1": SpatialTemporalStage(in_channels, base, base, base, skeleton, self.scales, 1),
                "2": SpatialTemporalStage(base, base, 2 * base, base, skeleton, self.scales, 2),
                "3": SpatialTemporalStage(2 * base, 2 * base, 4 * base, 2 * base, skeleton, self.scales, 2),
            }
        )
        self.num_features = 4 * base

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) → (N, num_features)."""
        self.check_input(joints)
        x = self.input_norm(joints)
        for stage in self.stages.values():
            x = stage(x)
        return pool_bodies(x, self.num_bodies)

    def create_classifier(self, num_classes: int) -> nn.Module:
        """Linear as torch makes it."""
        return create_linear(self.num_features, num_classes)
