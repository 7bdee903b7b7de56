"""The fused parts of the backbones as their papers state them: one subset, head, group and branch at a time.

Each function takes one of our modules and computes what its `forward` does, on the same parameters. `plainly` puts
them in the modules' place for a while: for comparison and for timing, never for use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_train.backbones import agcn, msg3d, mstgcn, stgcn, stgcnpp
from mmcl_train.backbones.agcn import SUBSETS, AdaptiveGraphConv, SpatialTemporalChannelAttention
from mmcl_train.backbones.blockgcn import BlockGraphConv
from mmcl_train.backbones.ctrgcn import ChannelTopologyConv, SharedTopologyConv
from mmcl_train.backbones.dgstgcn import DynamicGroupGraphConv
from mmcl_train.backbones.dynamicgcn import DynamicGraphConv
from mmcl_train.backbones.infogcn import AttentionGraphConv
from mmcl_train.backbones.tdgcn import TemporalTopologyConv
from mmcl_train.backbones.temporal import MultiScaleTemporalConv

from . import plain_levels, plain_readings, plain_scales
from .plain_layers import aggregate_then_mix, bias_of, part_norm, subset_convolution

# Backbones of which every fused part has a plain statement here.
WHOLE = (
    "aagcn", "agcn", "blockgcn", "ctrgcn", "ctrsgcn", "degcn", "dgstgcn", "dynamicgcn", "hdgcn", "hdgcn_com1",
    "hdgcn_com2", "infogcn", "mggcn", "msg3d", "mstgcn", "protogcn", "psumnet", "psumnet_hand", "psumnet_leg",
    "shiftgcn", "stgcn", "stgcnpp", "tdgcn",
)  # fmt: skip


def multi_scale(
    unit: MultiScaleTemporalConv, x: Tensor, residual: Tensor | None = None, *, relu: bool = False
) -> Tensor:
    """1×1, norm, activation, temporal part and norm, branch by branch; then residual and ReLU, where asked."""
    out, start = [], 0
    for branch, size in enumerate(unit.sizes):
        own = slice(start, start + size)
        start += size
        y = F.conv2d(x, unit.reduce.weight[own], bias_of(unit.reduce)[own])
        if own.stop <= unit.head_size:
            y = F.leaky_relu(part_norm(unit.reduce_norm, y, own), unit.slope)
        if branch < len(unit.convs):
            y = unit.convs[branch](y)
        elif own.stop <= unit.head_size:
            y = F.max_pool2d(y, (3, 1), (unit.stride, 1), (1, 0))
        else:
            y = y[:, :, :: unit.stride]
        out.append(part_norm(unit.norm, y, own))
    joined = torch.cat(out, dim=1)
    joined = joined if residual is None else joined + residual
    return F.relu(joined) if relu else joined


def similarity(unit: AdaptiveGraphConv, x: Tensor) -> Tensor:
    """2s-AGCN's C_k before its softmax, two embeddings and a product a subset."""
    halves = [part.chunk(SUBSETS) for part in unit.embed.weight.chunk(2)]
    biases = [part.chunk(SUBSETS) for part in bias_of(unit.embed).chunk(2)]
    graphs = []
    for k in range(SUBSETS):
        first, second = (F.conv2d(x, w[k], b[k]).flatten(1, 2) for w, b in zip(halves, biases, strict=True))
        graphs.append(first.transpose(1, 2) @ second / first.shape[1])
    return torch.stack(graphs, dim=1)


def attention(unit: SpatialTemporalChannelAttention, x: Tensor) -> Tensor:
    """The three gates applied in turn."""
    x = x * (1 + unit.joints(x.mean(2)).sigmoid().unsqueeze(2))
    x = x * (1 + unit.frames(x.mean(3)).sigmoid().unsqueeze(3))
    gate = unit.expand(F.relu(unit.squeeze(x.mean((2, 3))))).sigmoid()
    return x * (1 + gate[..., None, None])


def shared_topology(unit: SharedTopologyConv, x: Tensor) -> Tensor:
    """A graph product and a convolution a subset."""
    graph = unit.adjacency / (unit.adjacency.norm(dim=1, keepdim=True) + 1e-4)
    total = torch.zeros((), dtype=x.dtype)
    for k, weight in enumerate(unit.mix.weight.chunk(graph.shape[0], dim=1)):
        total = total + F.conv2d(x @ graph[k], weight, unit.bias[k])
    return unit.finish(total, x)


def channel_topology(unit: ChannelTopologyConv, x: Tensor) -> Tensor:
    """CTR-GCN's equations 5 to 7, a subset at a time, relations of every frame averaged after."""
    weights, biases = unit.relate.weight.unsqueeze(-1), bias_of(unit.relate)
    sides = [part.chunk(unit.subsets) for part in weights.chunk(2)]
    sides_bias = [part.chunk(unit.subsets) for part in biases.chunk(2)]
    values = list(
        zip(unit.value.weight.chunk(unit.subsets), bias_of(unit.value).chunk(unit.subsets), strict=True)
    )
    total = torch.zeros((), dtype=x.dtype)
    for k in range(unit.subsets):
        q, p = (F.conv2d(x, w[k], b[k]).mean(dim=2) for w, b in zip(sides, sides_bias, strict=True))
        difference = torch.tanh(q.unsqueeze(-1) - p.unsqueeze(-2))
        refined = F.conv2d(difference, unit.refine_weight[k][..., None, None], unit.refine_bias[k])
        graph = unit.alpha * refined + unit.adjacency[k]
        total = total + torch.einsum("ncuv,nctv->nctu", graph, F.conv2d(x, *values[k]))
    return unit.finish(total, x)


def temporal_topology(unit: TemporalTopologyConv, x: Tensor) -> Tensor:
    """TD-GCN's two topologies, a subset at a time."""
    weights, biases = (
        unit.relate.weight.unsqueeze(-1).chunk(unit.subsets),
        bias_of(unit.relate).chunk(unit.subsets),
    )
    values = list(
        zip(unit.value.weight.chunk(unit.subsets), bias_of(unit.value).chunk(unit.subsets), strict=True)
    )
    total = torch.zeros((), dtype=x.dtype)
    for k in range(unit.subsets):
        q, value = F.conv2d(x, weights[k], biases[k]).mean(dim=2), F.conv2d(x, *values[k])
        difference = torch.tanh(q.unsqueeze(-1) - q.unsqueeze(-2))
        refined = F.conv2d(difference, unit.refine_weight[k][..., None, None], unit.refine_bias[k])
        by_channel = torch.einsum("ncuv,nctv->nctu", unit.alpha * refined + unit.adjacency[k], value)
        mean = value.mean(dim=1)
        by_frame = torch.tanh(mean.unsqueeze(-1) - mean.unsqueeze(-2))
        total = total + unit.beta * by_channel + unit.gamma * torch.einsum("ntuv,nctv->nctu", by_frame, value)
    return unit.finish(total, x)


def attention_graph(unit: AttentionGraphConv, x: Tensor) -> Tensor:
    """InfoGCN's graph unit, a head at a time."""
    graphs = unit.attention(x.permute(0, 2, 3, 1))
    total = torch.zeros((), dtype=x.dtype)
    for head, weight in enumerate(unit.value.weight.chunk(unit.heads)):
        spread = torch.einsum("ntvu,nctu->nctv", graphs[:, :, head] * unit.topology[head], x)
        total = total + F.conv2d(spread, weight[..., None, None], unit.bias[head])
    return unit.finish(total, x)


def dynamic_group(unit: DynamicGroupGraphConv, x: Tensor) -> Tensor:
    """DG-STGCN's graph unit, a group at a time, relations of every frame averaged after."""
    groups = unit.adjacency.shape[0]
    first, second = (part.mean(dim=2) for part in unit.pair(x).chunk(2, dim=1))
    values = unit.pre(x)
    out = []
    for k in range(groups):
        p, q, value = (part.chunk(groups, dim=1)[k] for part in (first, second, values))
        by_pair = torch.einsum("ncv,ncw->nvw", p, q).softmax(dim=1).unsqueeze(1)
        by_channel = (p.unsqueeze(-1) - q.unsqueeze(-2)).tanh()
        graph = unit.adjacency[k] + unit.alpha[0] * by_channel + unit.beta[0] * by_pair
        out.append(torch.einsum("nctv,ncvw->nctw", value, graph))
    y = unit.norm(unit.post(torch.cat(out, dim=1)))
    return F.relu(y + (x if unit.down is None else unit.down(x)))


def block_graph(unit: BlockGraphConv, x: Tensor) -> Tensor:
    """BlockGCN's graph unit, head by head and subset by subset."""
    subsets, heads = unit.joint_weight.shape[:2]
    out = []
    for h, part in enumerate(x.chunk(heads, dim=1)):
        total = torch.zeros((), dtype=x.dtype)
        for k in range(subsets):
            graph = torch.zeros_like(unit.joint_weight[k, h])
            for weights in (unit.joint_weight[k, h], unit.hop_weight[k, h][unit.hops]):
                graph = graph + weights / (weights.square().sum(dim=0).sqrt() + 1e-4)
            mixed = torch.einsum("oc,nctv->notv", unit.weight[k].chunk(heads)[h], part @ graph)
            total = total + mixed + unit.bias[k].chunk(heads)[h][:, None, None]
        out.append(total)
    return unit.finish(torch.cat(out, dim=1), x)


def dynamic_graph(unit: DynamicGraphConv, x: Tensor) -> Tensor:
    """Dynamic GCN's equation 4: the static subsets, then λ times what goes over the encoded graph."""
    static = zip(unit.graphs, unit.weight, unit.bias, strict=False)
    total = torch.zeros((), dtype=x.dtype)
    for graph, weight, bias in static:
        total = total + F.conv2d(x @ graph, weight[..., None, None], bias)
    encoded = F.conv2d(x @ unit.context(x).unsqueeze(1), unit.weight[-1][..., None, None], unit.bias[-1])
    y = unit.norm(total + unit.balance * encoded)
    return unit.attention(F.relu(y + (x if unit.down is None else unit.down(x))))


METHODS = (
    (MultiScaleTemporalConv, "forward", multi_scale),
    (AdaptiveGraphConv, "similarity", similarity),
    (SpatialTemporalChannelAttention, "forward", attention),
    (SharedTopologyConv, "forward", shared_topology),
    (ChannelTopologyConv, "forward", channel_topology),
    (TemporalTopologyConv, "forward", temporal_topology),
    (AttentionGraphConv, "forward", attention_graph),
    (BlockGraphConv, "forward", block_graph),
    (DynamicGroupGraphConv, "forward", dynamic_group),
    *plain_scales.METHODS,
    *plain_levels.METHODS,
    *plain_readings.METHODS,
    (DynamicGraphConv, "forward", dynamic_graph),
)
FUNCTIONS = (
    *((module, "aggregate_then_mix", aggregate_then_mix) for module in (agcn, msg3d)),
    *((module, "subset_convolution", subset_convolution) for module in (mstgcn, stgcn, stgcnpp)),
)


@contextmanager
def plainly() -> Iterator[None]:
    """Within it every backbone computes with the plain parts."""
    with ExitStack() as stack:
        for owner, name, plain in (*METHODS, *FUNCTIONS):
            stack.enter_context(patch.object(owner, name, plain))
        yield
