"""Dynamic GCN, for which there is no reference file: released values, a plain formulation, sizes, beginnings."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones.dynamicgcn import SUBSETS, DynamicGCN, DynamicGraphConv, JointProjection
from mmcl_train.graphs.adjacency import spatial_stack

from .golden import Model
from .released import fill_by_recipe, recipe_input, train_once

# SkelAct's DGCN: first three logits of three samples; training loss and gradient norm.
LOGITS = (
    (-152427.08438505855, -19968.52566829259, 57351.20231378085),
    (-143161.12208797724, -19684.50063131076, 65260.80243128621),
    (-118808.04668500721, -20374.308551388196, 61557.70868740007),
)
LOSS, GRADIENT = 4.1677560678295436, 17.29645809659969


def create(clip_length: int = 32, layout: str = "ntu25", width: float = 1.0) -> DynamicGCN:
    torch.manual_seed(0)
    return DynamicGCN(layout=LAYOUTS[layout], clip_length=clip_length, width=width)


def test_values_are_those_of_the_released_code() -> None:
    model = fill_by_recipe(create(), 60, {}).eval()
    joints = recipe_input("dynamicgcn")
    with torch.no_grad():
        logits = model(joints)[:, :3]
    torch.testing.assert_close(logits, torch.tensor(LOGITS, dtype=torch.float64), rtol=1e-9, atol=0.0)
    model.train()
    loss, gradient = train_once(model, model.backbone(joints))
    assert loss == pytest.approx(LOSS, rel=1e-9)
    assert gradient == pytest.approx(GRADIENT, rel=1e-9)


def convolve_plainly(unit: DynamicGraphConv, x: Tensor) -> Tensor:
    """Subset by subset, the dynamic graph apart, as the paper's equation 4 reads."""
    total = torch.zeros(())
    for k in range(SUBSETS):
        total = total + mix(x @ unit.graphs[k], unit.weight[k], unit.bias[k])
    dynamic = unit.context(x)
    total = total + unit.balance * mix(x @ dynamic[:, None], unit.weight[-1], unit.bias[-1])
    residual = x if unit.down is None else unit.down(x)
    return unit.attention(F.relu(unit.norm(total) + residual))


def mix(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(x, weight[..., None, None], bias)


def test_four_graphs_at_once_equal_one_after_another() -> None:
    torch.manual_seed(0)
    unit = DynamicGraphConv(4, 8, torch.rand(SUBSETS, 5, 5), 6).double().eval()
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(unit(x), convolve_plainly(unit, x), rtol=1e-12, atol=1e-12)


def test_columns_of_the_encoded_graph_have_unit_length() -> None:
    unit = create(8, width=0.25).eval().layers[0].spatial
    lengths = unit.context(torch.randn(3, 3, 8, 25)).square().sum(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


@pytest.mark.parametrize(("layout", "counts"), [("ntu25", [15, 9]), ("coco17", [10, 6])])
def test_joints_are_merged_twice(layout: str, counts: list[int]) -> None:
    layers = create(8, layout, 0.25).layers
    assert [layer.matrix.shape[1] for layer in layers if isinstance(layer, JointProjection)] == counts


def test_graphs_start_as_the_skeleton_and_next_to_nothing_where_joints_are_merged() -> None:
    graphs = [layer.spatial.graphs for layer in create(8, width=0.25).layers if hasattr(layer, "spatial")]
    skeleton = torch.tensor(spatial_stack(LAYOUTS["ntu25"])).float()
    assert all(torch.equal(graph.detach(), skeleton) for graph in graphs[:5])
    assert all(bool((graph == 1e-6).all()) for graph in graphs[5:])


def test_parameter_count_is_the_published_one_at_sixty_classes() -> None:
    with torch.device("meta"):
        model = Model(create(64), 60)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert millions == pytest.approx(3.75, abs=0.005)


def test_clip_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="built for clips of 16 frames"):
        create(16, width=0.25)(torch.zeros(1, 3, 32, 25, 2))
