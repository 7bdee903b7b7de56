"""ST-GCN++, DG-STGCN, ProtoGCN: against the plain formulation, and what their reference files do not say."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones.dgstgcn import DGSTGCN, DynamicGroupGraphConv
from mmcl_train.backbones.multibranch import MultiBranchTemporal, plan_stages
from mmcl_train.backbones.protogcn import ProtoGCN
from mmcl_train.backbones.stgcnpp import LearnedGraphConv

from .golden import FOLDER, assert_close, fill, load_golden, make_input


def roughened(module: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module.double().eval()


def random_input(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_learned_graphs_at_once_equal_one_after_another() -> None:
    unit = roughened(LearnedGraphConv(4, 6, torch.rand(3, 5, 5)))
    x = random_input(2, 4, 7, 5)
    total = torch.zeros(())
    for k in range(3):
        weight, bias = unit.conv.weight.chunk(3)[k], unit.conv.bias.chunk(3)[k]
        total = total + F.conv2d(x, weight, bias) @ unit.adjacency[k]
    torch.testing.assert_close(unit(x), F.relu(unit.norm(total) + unit.down(x)), rtol=1e-12, atol=1e-12)


def test_sample_graphs_at_once_equal_one_after_another() -> None:
    torch.manual_seed(0)
    unit = roughened(DynamicGroupGraphConv(8, 16, torch.rand(8, 5, 5)))
    x = random_input(2, 8, 7, 5)
    first, second = unit.pair(x).chunk(2, dim=1)  # every frame, averaged after
    values = unit.pre(x)
    groups = []
    for k in range(8):
        p, q, value = (part.chunk(8, dim=1)[k] for part in (first.mean(2), second.mean(2), values))
        by_pair = torch.einsum("ncv,ncw->nvw", p, q).softmax(dim=1)
        for c in range(p.shape[1]):
            by_channel = (p[:, c, :, None] - q[:, c, None, :]).tanh()
            graph = unit.adjacency[k] + unit.alpha[0] * by_channel + unit.beta[0] * by_pair
            groups.append(value[:, c] @ graph)
    expected = F.relu(unit.norm(unit.post(torch.stack(groups, dim=1))) + unit.down(x))
    torch.testing.assert_close(unit(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_mean_joint_has_no_say_at_the_start(stride: int) -> None:
    torch.manual_seed(0)
    with_mean = MultiBranchTemporal(12, stride, num_joints=5).eval()
    without = MultiBranchTemporal(12, stride).eval()
    without.load_state_dict(with_mean.state_dict(), strict=False)
    x = random_input(2, 12, 7, 5).float()
    torch.testing.assert_close(with_mean(x), without(x))


def test_stages_double_their_channels_at_the_fifth_and_eighth() -> None:
    stages = plan_stages(3, 64, 1.0)
    assert [stage.out_channels for stage in stages] == [64] * 4 + [128] * 3 + [256] * 3
    assert [stage.stride for stage in stages] == [1] * 4 + [2, 1, 1, 2, 1, 1]


def test_every_block_starts_from_the_same_drawn_graph() -> None:
    torch.manual_seed(0)
    graphs = [block.graph.adjacency.detach() for block in DGSTGCN(layout=LAYOUTS["ntu25"], width=0.25).blocks]
    assert all(torch.equal(graph, graphs[0]) for graph in graphs)
    assert float(graphs[0].mean()) == pytest.approx(0.04, abs=0.002)
    assert float(graphs[0].std()) == pytest.approx(0.02, abs=0.002)


def test_rebuilt_graph_equals_the_published_one() -> None:
    if not FOLDER.is_dir():
        pytest.skip(f"no reference values: {FOLDER} is absent")
    golden = load_golden("protogcn")
    model = fill(ProtoGCN(layout=LAYOUTS["ntu25-hands"], clip_length=32), golden).eval()
    with torch.no_grad():
        features, graph = model.backbone.forward_with_graph(make_input(golden).double())
    assert_close(graph, golden.values["graph"], 1e-6, "graph")
    assert_close(features, golden.values["feature"], 1e-6, "feature")


def test_auxiliary_objective_reaches_the_prototypes_and_the_last_graph() -> None:
    torch.manual_seed(0)
    backbone = ProtoGCN(layout=LAYOUTS["coco17"], width=0.25, num_bodies=1, clip_length=8).train()
    with torch.no_grad():
        backbone.blocks[-1].graph.alpha.fill_(0.5)
    features, graph = backbone.forward_with_graph(torch.randn(3, 3, 8, 17, 1))
    assert features.shape == (3, backbone.num_features)
    assert graph.shape == (3, 17 * 17)
    (graph * torch.randn_like(graph)).sum().backward()
    reached = [parameter.grad for parameter in backbone.reconstruction.parameters()]
    reached.append(backbone.blocks[-1].graph.pair.weight.grad)
    assert all(gradient is not None and gradient.any() for gradient in reached)
