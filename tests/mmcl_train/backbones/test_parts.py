"""Fused parts against their plain statements, on small tensors in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_train.backbones.degcn import DeformableTemporalConv
from mmcl_train.backbones.hdgcn import EdgeConv
from mmcl_train.backbones.tdgcn import TemporalTopologyConv
from mmcl_train.backbones.temporal import MultiScaleTemporalConv, even_sizes, first_takes_rest


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("frames", [8, 7])
def test_multi_scale_convolution_equals_its_branches_one_by_one(stride: int, frames: int) -> None:
    torch.manual_seed(0)
    unit = MultiScaleTemporalConv(8, [4, 3, 3, 2], [(5, 1), (5, 2)], stride, end_norm=False).double().eval()
    x = draw(2, 8, frames, 5)
    weight, bias = unit.reduce.weight.split(unit.sizes), unit.reduce.bias.split(unit.sizes)
    points = [F.conv2d(x, w, b) for w, b in zip(weight, bias, strict=True)]
    heads = [F.relu(point / (1 + unit.reduce_norm.eps) ** 0.5) for point in points[:3]]
    expected = [
        F.conv2d(heads[0], unit.convs[0].weight, unit.convs[0].bias, (stride, 1), (2, 0)),
        F.conv2d(heads[1], unit.convs[1].weight, unit.convs[1].bias, (stride, 1), (4, 0), (2, 1)),
        F.max_pool2d(heads[2], (3, 1), (stride, 1), (1, 0)),
        points[3][:, :, ::stride],
    ]
    torch.testing.assert_close(unit(x), torch.cat(expected, dim=1))


def test_branch_sizes() -> None:
    assert even_sizes(12, 4) == [3, 3, 3, 3]
    assert first_takes_rest(64, 6) == [14, 10, 10, 10, 10, 10]
    with pytest.raises(ValueError, match="do not divide"):
        even_sizes(10, 4)


def test_edge_convolution_equals_convolving_every_edge() -> None:
    torch.manual_seed(0)
    graphs, channels, nodes, neighbours = 2, 3, 6, 4
    unit = EdgeConv(graphs, channels, neighbours).double().train()
    x = draw(2, graphs, channels, nodes)
    distance = torch.cdist(x.transpose(2, 3), x.transpose(2, 3))
    nearest = distance.topk(neighbours, largest=False).indices
    edges = torch.empty(2, graphs, channels, nodes, neighbours, dtype=torch.float64)
    for n in range(2):
        for g in range(graphs):
            for v in range(nodes):
                for k in range(neighbours):
                    other, own = x[n, g, :, nearest[n, g, v, k]], x[n, g, :, v]
                    edges[n, g, :, v, k] = unit.weight[g] @ torch.cat([other - own, own])
    mean = edges.mean(dim=(0, 3, 4), keepdim=True)
    deviation = (edges.var(dim=(0, 3, 4), unbiased=False, keepdim=True) + unit.norm.eps).sqrt()
    expected = F.leaky_relu((edges - mean) / deviation, 0.2).amax(dim=-1)
    torch.testing.assert_close(unit(x), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_deformable_convolution_reads_between_frames_and_repeats_the_edges(stride: int) -> None:
    torch.manual_seed(0)
    unit = DeformableTemporalConv(3, 2, stride).double()
    with torch.no_grad():
        unit.offsets.copy_(torch.tensor([-2.0, -0.25, 0.5, 9.0]))
    x = draw(2, 3, 7, 4)
    expected = []
    for step in range(0, 7, stride):
        total = unit.mix.bias[None, :, None]
        for sample, offset in enumerate(unit.offsets.tolist()):
            before = int(torch.tensor(step + offset).floor())
            fraction = step + offset - before
            low, high = (x[:, :, min(max(at, 0), 6)] for at in (before, before + 1))
            total = total + unit.mix.weight[:, :, sample, 0, 0] @ ((1 - fraction) * low + fraction * high)
        expected.append(total)
    torch.testing.assert_close(unit(x), torch.stack(expected, dim=2))


def test_deformable_offsets_learn() -> None:
    unit = DeformableTemporalConv(3, 2, 1).double()
    with torch.no_grad():
        unit.offsets.add_(0.3)
    x = draw(1, 3, 7, 4)
    torch.autograd.gradcheck(
        lambda offsets: _with_offsets(unit, offsets, x), unit.offsets.detach().requires_grad_()
    )


def _with_offsets(unit: DeformableTemporalConv, offsets: Tensor, x: Tensor) -> Tensor:
    return torch.func.functional_call(unit, {"offsets": offsets}, (x,))


def test_frame_topology_is_of_the_values_channel_mean() -> None:
    torch.manual_seed(0)
    unit = TemporalTopologyConv(8, 8, torch.rand(3, 5, 5)).double()
    x = draw(2, 8, 4, 5)
    mean = unit.value(x).unflatten(1, (3, 8)).mean(dim=2)
    expected = unit.gamma * torch.tanh(mean[..., :, None] - mean[..., None, :])
    torch.testing.assert_close(unit.frame_topology(x), expected)
