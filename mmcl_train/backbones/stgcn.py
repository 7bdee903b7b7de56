"""ST-GCN: a fixed skeleton graph in three partitions, its edges weighted by learnt importances."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.base import Backbone, BodyNorm, create_linear, pool_bodies, scale_channels
from mmcl_train.backbones.graph_convolution import subset_convolution
from mmcl_train.backbones.published import KeyRule, rules
from mmcl_train.backbones.temporal import TemporalConv, norm_rules
from mmcl_train.graphs.adjacency import Matrix, hop_distances, normalise_columns

# (channels at width 1, stride) of each block.
BLOCKS = ((64, 1), (64, 1), (64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1))


def partition_by_distance(layout: Layout) -> Matrix:
    """(3, V, V): the joint itself; neighbours not nearer to the centre; neighbours nearer to it.

    Rows and columns of neighbours are compared by their distance to the centre, and the release
    measures distances of 0 and 1 only: everything farther is equally far. So beyond the centre's own
    neighbours both directions of a bone fall into the second partition, unlike in the paper's
    figure. The column-normalised adjacency is what is split.

    Source: ST-GCN section 3.3 (spatial configuration partitioning) as released with `max_hop=1`.
    """
    hops = hop_distances(layout)
    normalised = normalise_columns(np.where((hops == 0) | (hops == 1), 1.0, 0.0))
    to_centre = np.minimum(hops[:, layout.centre], 2)
    not_nearer = to_centre[:, None] >= to_centre[None, :]
    neighbours = hops == 1
    return np.stack(
        [
            normalised * (hops == 0),
            normalised * (neighbours & not_nearer),
            normalised * (neighbours & ~not_nearer),
        ]
    )


class SpatialTemporalBlock(nn.Module):
    """Graph convolution – norm – ReLU – 9×1 convolution – norm, plus the residual, then ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, partitions: Tensor, stride: int, *, residual: bool
    ) -> None:
        super().__init__()
        self.edge_importance = nn.Parameter(torch.ones_like(partitions))
        self.spatial = nn.Conv2d(in_channels, out_channels * len(partitions), 1)
        self.norm = nn.BatchNorm2d(out_channels)
        self.temporal = TemporalConv(out_channels, out_channels, 9, stride)
        self.residual: nn.Module | None = None
        if residual:
            same = in_channels == out_channels and stride == 1
            self.residual = nn.Identity() if same else TemporalConv(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor, partitions: Tensor) -> Tensor:
        """(N, C, T, V) and the graph (K, V, V) → (N, C', ceil(T / stride), V)."""
        graph = partitions * self.edge_importance
        y = subset_convolution(x, graph, self.spatial.weight, self.spatial.bias)
        y = self.temporal(F.relu(self.norm(y), inplace=True))
        return F.relu(y if self.residual is None else y + self.residual(x))


class STGCN(Backbone):
    """ST-GCN with the spatial configuration partition.

    Bodies share the statistics of the input norm. The released training also drops half of every
    block's output but the first; the released values, and this class, are without.

    Source: Yan, Xiong, Lin, AAAI 2018 (arXiv:1801.07455).
    """

    publication = "ST-GCN (AAAI 2018, arXiv:1801.07455)"
    year = 2018
    min_clip_length = 1
    published_rules = rules(
        KeyRule("partitions", "A"),
        norm_rules("input_norm.norm", "data_bn"),
        KeyRule(r"blocks\.(\d+)\.edge_importance", r"edge_importance.\1"),
        norm_rules(r"blocks\.(\d+)\.spatial", r"st_gcn_networks.\1.gcn.conv"),
        norm_rules(r"blocks\.(\d+)\.norm", r"st_gcn_networks.\1.tcn.0"),
        norm_rules(r"blocks\.(\d+)\.temporal\.conv", r"st_gcn_networks.\1.tcn.2"),
        norm_rules(r"blocks\.(\d+)\.temporal\.norm", r"st_gcn_networks.\1.tcn.3"),
        norm_rules(r"blocks\.(\d+)\.residual\.conv", r"st_gcn_networks.\1.residual.0"),
        norm_rules(r"blocks\.(\d+)\.residual\.norm", r"st_gcn_networks.\1.residual.1"),
        norm_rules("classifier", "fcn"),
    )

    partitions: Tensor

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
        partitions = torch.tensor(partition_by_distance(layout), dtype=torch.get_default_dtype())
        self.register_buffer("partitions", partitions)  # (3, V, V)
        self.input_norm = BodyNorm(in_channels, layout.num_joints, num_bodies, per_body=False)
        blocks: list[nn.Module] = []
        last = in_channels
        for channels, stride in BLOCKS:
            out = scale_channels(channels, width)
            blocks.append(SpatialTemporalBlock(last, out, partitions, stride, residual=bool(blocks)))
            last = out
        self.blocks = nn.ModuleList(blocks)
        self.num_features = last
        self.apply(init_released)

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) → (N, num_features)."""
        self.check_input(joints)
        x = self.input_norm(joints)
        for block in self.blocks:
            x = block(x, self.partitions)
        return pool_bodies(x, self.num_bodies)

    def create_classifier(self, num_classes: int) -> nn.Module:
        """Linear, initialised as the publication's 1×1 convolution."""
        classifier = create_linear(self.num_features, num_classes, std=0.02)
        nn.init.zeros_(classifier.bias)
        return classifier


def init_released(module: nn.Module) -> None:
    """Convolutions N(0, 0.02²), norms N(1, 0.02²), biases zero: the initialisation of the released training."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
