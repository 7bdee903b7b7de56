"""The fast CTR-GCN against the plain one, forwards and backwards, without any reference file."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import create_backbone
from mmcl_train.backbones.ctrgcn import TopologyProduct, refine_topology
from mmcl_train.backbones.plain_ctrgcn import PlainCTRGCN
from mmcl_train.backbones.published import import_published, published_gradients

from .golden import Model


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def pair() -> tuple[Model, PlainCTRGCN]:
    torch.manual_seed(0)
    plain = PlainCTRGCN(7, joints=20, bodies=1, base=16).double()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    backbone = create_backbone(
        "ctrgcn", layout=LAYOUTS["nw-ucla20"], num_bodies=1, clip_length=13, width=0.25
    )
    model = Model(backbone, 7).double()
    import_published(model, plain.state_dict(), backbone.published_rules)
    return model, plain


def test_fast_equals_plain_in_training_with_all_gradients(pair: tuple[Model, PlainCTRGCN]) -> None:
    model, plain = pair
    joints = draw(3, 3, 13, 20, 1)
    ours, theirs = model.train()(joints), plain.train()(joints)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    expected = {name: parameter.grad for name, parameter in plain.named_parameters()}
    shapes = {name: tuple(gradient.shape) for name, gradient in expected.items()}
    found = published_gradients(model, model.backbone.published_rules, shapes)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-7, atol=1e-7, msg=name)


def test_fast_equals_plain_in_eval_after_a_step_of_running_statistics(
    pair: tuple[Model, PlainCTRGCN],
) -> None:
    model, plain = pair
    joints = draw(3, 3, 13, 20, 1)
    model.train()(joints)
    plain.train()(joints)
    torch.testing.assert_close(model.eval()(joints), plain.eval()(joints), rtol=1e-9, atol=1e-9)


def test_topology_product_sums_subsets() -> None:
    topology, values = draw(2, 3, 4, 5, 5), draw(2, 3, 4, 6, 5, seed=1)
    expected = sum(
        torch.einsum("ncvu,nctv->nctu", topology[:, k], values[:, k]) for k in range(topology.shape[1])
    )
    torch.testing.assert_close(TopologyProduct()(topology, values), expected)


def test_refined_topology_adds_graph_and_bias() -> None:
    difference, graph = draw(2, 3, 4, 5, 5), draw(3, 5, 5, seed=1)
    weight, bias = draw(3, 6, 4, seed=2), draw(3, 6, seed=3)
    alpha, beta = torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    found = refine_topology(difference, graph, weight, bias, alpha, beta)
    refined = torch.einsum("kcr,nkruv->nkcuv", weight, difference) + bias[None, :, :, None, None]
    torch.testing.assert_close(found, alpha * refined + beta * graph[None, :, None])
