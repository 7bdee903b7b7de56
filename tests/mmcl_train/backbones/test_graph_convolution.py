"""The fused graph convolutions equal their plain formulation, subset by subset and window by window."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones.agcn import SpatialTemporalChannelAttention
from mmcl_train.backbones.graph_convolution import aggregate_then_mix, subset_convolution
from mmcl_train.backbones.msg3d import WindowGraphConv
from mmcl_train.graphs.adjacency import binary


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("per_sample", [False, True])
def test_one_dilated_convolution_is_the_sum_over_subsets(per_sample: bool) -> None:
    x, weight, bias = random(2, 4, 5, 7), random(3, 6, 4, seed=1), random(6, seed=2)
    graphs = random(2, 3, 7, 7, seed=3) if per_sample else random(3, 7, 7, seed=3)
    expected = bias.view(1, -1, 1, 1).expand(2, 6, 5, 7)
    for k in range(3):
        graph = graphs[:, k].unsqueeze(1) if per_sample else graphs[k]
        expected = expected + F.conv2d(x @ graph, weight[k][..., None, None])
    torch.testing.assert_close(aggregate_then_mix(x, graphs, weight, bias), expected)


def test_bias_in_front_of_the_graph_travels_over_it() -> None:
    x, graphs = random(2, 4, 5, 7), random(3, 7, 7, seed=1)
    weight, bias = random(18, 4, 1, 1, seed=2), random(18, seed=3)
    mixed = F.conv2d(x, weight, bias).unflatten(1, (3, 6))
    expected = torch.einsum("nkctv,kvw->nctw", mixed, graphs)
    torch.testing.assert_close(subset_convolution(x, graphs, weight, bias), expected)


@pytest.mark.parametrize(("channels", "embedded"), [(3, 8), (8, 8)])
@pytest.mark.parametrize(("frames", "stride"), [(9, 1), (9, 2), (8, 2)])
def test_window_convolution_equals_unfolding_then_the_whole_graph(
    channels: int, embedded: int, frames: int, stride: int
) -> None:
    torch.manual_seed(0)
    skeleton = binary(LAYOUTS["coco17"])
    conv = WindowGraphConv(channels, embedded, 6, skeleton, 4, window=3, stride=stride).double().eval()
    torch.nn.init.normal_(conv.residual_graph)
    x = random(2, channels, frames, 17)
    n, joints = x.shape[0], 17
    padded = F.pad(x, (0, 0, 1, 1)).unfold(2, 3, stride)  # (N, C, T', V, 3)
    windows = padded.transpose(3, 4).flatten(3)
    graph = (conv.graph + conv.residual_graph).view(4, 3 * joints, 3 * joints)
    aggregated = torch.einsum("kvu,nctu->nkctv", graph, windows).flatten(1, 2)
    inner = F.relu(conv.norm(conv.mix(aggregated))).unflatten(3, (3, joints))  # (N, E, T', 3, V)
    collapsed = F.conv3d(inner, conv.collapse.weight.unsqueeze(2), conv.collapse.bias).squeeze(3)
    expected = conv.collapse_norm(collapsed)
    found = conv(x.transpose(2, 3).contiguous()).transpose(2, 3)
    assert found.shape[:2] == (n, 6)
    torch.testing.assert_close(found, expected)


def test_attention_from_small_means_equals_gates_applied_in_turn() -> None:
    torch.manual_seed(0)
    attention = SpatialTemporalChannelAttention(8, 17).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    x = random(2, 8, 5, 17)
    y = x * (1 + attention.joints(x.mean(2)).sigmoid().unsqueeze(2))
    y = y * (1 + attention.frames(y.mean(3)).sigmoid().unsqueeze(3))
    gate = attention.expand(F.relu(attention.squeeze(y.mean((2, 3))))).sigmoid()
    torch.testing.assert_close(attention(x), y * (1 + gate[..., None, None]))
