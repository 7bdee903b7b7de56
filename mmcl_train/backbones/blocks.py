"""The frame that the 2s-AGCN line of backbones shares: ten blocks of graph, then time, then a residual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.absent import BodyRows, counted_rows, find_absent, merge_absent
from mmcl_train.backbones.base import Backbone, BodyNorm, pool_bodies, scale_channels
from mmcl_train.backbones.initialise import init_conv_fan_out, init_norm
from mmcl_train.backbones.norm import RowNorm, is_quick, normed_conv
from mmcl_train.backbones.published import KeyRule
from mmcl_train.backbones.temporal import MultiScaleTemporalConv, TemporalConv, norm_rules, temporal_rules

# (channels at width 1, stride) of the ten blocks.
TEN_BLOCKS: tuple[tuple[int, int], ...] = (
    *[(64, 1)] * 4,
    (128, 2),
    *[(128, 1)] * 2,
    (256, 2),
    *[(256, 1)] * 2,
)


class SpatialTemporalBlock(nn.Module):
    """relu(temporal(graph(x)) + residual(x)); no residual where it is None."""

    def __init__(self, graph: nn.Module, temporal: nn.Module, residual: nn.Module | None) -> None:
        super().__init__()
        self.graph = graph
        self.temporal = temporal
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T', V)."""
        y = self.graph(x)
        residual = None if self.residual is None else self.residual(x)
        if isinstance(self.temporal, TemporalConv | MultiScaleTemporalConv):
            return self.temporal(y, residual, relu=True)
        y = self.temporal(y)
        return F.relu(y if residual is None else y + residual, inplace=True)


def create_residual(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Identity where shapes allow, else a strided 1×1 convolution with norm."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    unit = TemporalConv(in_channels, out_channels, kernel=1, stride=stride)
    init_conv_fan_out(unit.conv)
    init_norm(unit.norm)
    return unit


def create_blocks(
    in_channels: int,
    width: float,
    create: Callable[[int, int, int], tuple[nn.Module, nn.Module]],
    plan: Sequence[tuple[int, int]] = TEN_BLOCKS,
    *,
    first_residual: bool = False,
) -> tuple[nn.Sequential, int]:
    """Blocks along `plan`, and the channels of the last.

    `create(in_channels, out_channels, stride)` makes a block's graph and temporal modules. The first
    block has no residual, as published, unless `first_residual`.
    """
    blocks = []
    for index, (channels, stride) in enumerate(plan):
        out_channels = scale_channels(channels, width)
        graph, temporal = create(in_channels, out_channels, stride)
        residual = create_residual(in_channels, out_channels, stride) if index or first_residual else None
        blocks.append(SpatialTemporalBlock(graph, temporal, residual))
        in_channels = out_channels
    return nn.Sequential(*blocks), in_channels


class NormedConv(nn.Sequential):
    """A convolution and its norm."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T', V)."""
        conv, norm = self
        assert isinstance(conv, nn.Conv2d)
        return normed_conv(conv, norm, x)


class GraphResidual(nn.Module):
    """relu(norm(y) + down(x)) after a graph convolution y of x; `down` is a 1×1 where channels change.

    The norm starts at 1e-6, so that a block starts as its residual.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = RowNorm(out_channels)
        init_norm(self.norm, 1e-6)
        self.down: nn.Module = nn.Identity()
        if in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1)
            init_conv_fan_out(conv)
            self.down = NormedConv(conv, RowNorm(out_channels))

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        made: Tensor = self.norm(y, self.down(x), relu=True)
        return made


class TenBlockBackbone(Backbone):
    """Input norm, the ten blocks, the mean over time, joints and bodies. A subclass makes the blocks' parts.

    It may set `merges_absent_bodies` where its blocks treat every row alike but for `RowNorm`.
    """

    min_clip_length = 1
    plan: ClassVar[Sequence[tuple[int, int]]] = TEN_BLOCKS
    # Blocks whose output `forward_with_maps` gives: the first, the last of each width but the deepest's, and the last.
    map_blocks: ClassVar[Sequence[int]] = (0, 4, 7, 9)
    num_graphs: ClassVar[int] = 0  # subsets of the graph that `infer_graph` gives

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
        self.input_norm = BodyNorm(in_channels, layout.num_joints, num_bodies)
        self.blocks, self.num_features = create_blocks(in_channels, width, self.create_parts, self.plan)
        self.num_graph_features = self.num_graphs * layout.num_joints**2

    def create_parts(self, in_channels: int, out_channels: int, stride: int) -> tuple[nn.Module, nn.Module]:
        """A block's graph module and temporal module."""
        raise NotImplementedError

    def forward(self, joints: Tensor, bodies: BodyRows | None = None) -> Tensor:
        """(N, C, T, V, M) → (N, num_features); `bodies` are those to compute, where the caller knows absent ones."""
        self.check_input(joints)
        x = self.input_norm(joints)
        bodies = self.choose_bodies(joints, bodies)
        if bodies is None:
            return pool_bodies(self.blocks(x), self.num_bodies)
        with counted_rows(self.row_norms(), bodies):
            x = self.blocks(x[bodies.kept])
        return pool_bodies(x, self.num_bodies, bodies.source)

    def choose_bodies(self, joints: Tensor, known: BodyRows | None) -> BodyRows | None:
        """Bodies to compute where some are absent, None for all; looks for them where that waits for no device.

        All are computed where a norm of training cannot count rows: one over several processes.
        """
        if not self.merges_absent_bodies or self.num_bodies < 2 or not self.row_norms():
            return None
        if known is None and is_quick(joints):
            return merge_absent(find_absent(joints))
        return known

    def row_norms(self) -> list[RowNorm]:
        """The norms of the blocks; none once they were swapped for norms over several processes."""
        return [module for module in self.blocks.modules() if isinstance(module, RowNorm)]

    def map_shapes(self, clip_length: int) -> tuple[tuple[int, int], ...]:
        """(channels, frames) after the first, fifth, eighth and last block; a stride rounds up."""
        shapes = []
        frames = clip_length
        for channels, stride in self.plan:
            frames = -(-frames // stride)
            shapes.append((scale_channels(channels, self.width), frames))
        return tuple(shapes[index] for index in self.map_blocks)

    def forward_with_maps(self, joints: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features as `forward`, and the maps (N·M, C, T, V) of `map_shapes`."""
        self.check_input(joints)
        x = self.input_norm(joints)
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.map_blocks:
                maps.append(x)
        return pool_bodies(x, self.num_bodies), tuple(maps)

    def forward_with_graph(self, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Features as `forward`, and the last block's inferred graphs (N, K·V·V), the mean over bodies."""
        self.check_input(joints)
        x = self.input_norm(joints)
        for index in range(len(self.blocks) - 1):
            x = self.blocks[index](x)
        graph = self.infer_graph(x).unflatten(0, (-1, self.num_bodies)).mean(dim=1)
        return pool_bodies(self.blocks[-1](x), self.num_bodies), graph.flatten(1)

    def infer_graph(self, x: Tensor) -> Tensor:
        """What the last block infers of its input (N·M, C, T, V): (N·M, num_graphs, V, V)."""
        raise NotImplementedError


def block_rules(
    plan_length: int, published: str, rules_of: Callable[[str, str], Sequence[KeyRule]]
) -> list[KeyRule]:
    """Rules of `blocks.<i>` for each i; `published` is a format such as "l{number}" (1-based) or "{index}"."""
    made: list[KeyRule] = []
    for index in range(plan_length):
        made.extend(rules_of(rf"blocks\.{index}", published.format(index=index, number=index + 1)))
    return made


def graph_residual_rules(ours: str, published: str) -> list[KeyRule]:
    """`GraphResidual` in a published unit_gcn: `bn`, `down.0`, `down.1`."""
    return [
        *norm_rules(rf"{ours}\.norm", f"{published}.bn"),
        *norm_rules(rf"{ours}\.down\.0", f"{published}.down.0"),
        *norm_rules(rf"{ours}\.down\.1", f"{published}.down.1"),
    ]


def residual_rules(ours: str, published: str) -> list[KeyRule]:
    """A block's residual unit."""
    return list(temporal_rules(rf"{ours}\.residual", f"{published}.residual"))


# The classifier `fc` and the input norm `data_bn`, so named throughout the line.
FRAME_RULES: tuple[KeyRule, ...] = (
    *norm_rules(r"classifier", "fc"),
    *norm_rules(r"input_norm\.norm", "data_bn"),
)
