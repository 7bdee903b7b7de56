"""BlockGCN, for which there is no reference file: released values, a plain formulation, the barcode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.transform import Rotation
from torch import Tensor

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones.barcode import persistence_barcode
from mmcl_train.backbones.blockgcn import (
    BLOCKS,
    HEADS,
    NORM_FLOOR,
    NUM_ELEMENTS,
    SUBSETS,
    BarcodeReader,
    BlockGCN,
    BlockGraphConv,
)
from mmcl_train.graphs.adjacency import hop_distances

from .golden import Model
from .released import fill_by_recipe, recipe_input, train_once

# The released model: first three logits of three samples, each alone in its batch; training loss and
# gradient norm where all three are given the first one's joints as topology.
LOGITS = (
    (-162493.63805856067, 131382.31050325307, 4702.2641755555305),
    (-163799.61144026456, 132415.7580924261, 4776.53035408014),
    (-163738.5515238466, 132437.18213402136, 4799.8565700403415),
)
LOSS, GRADIENT = 4.233201375999038, 17.106494418421327


def create(layout: str = "ntu25-hands", width: float = 1.0) -> BlockGCN:
    torch.manual_seed(0)
    return BlockGCN(layout=LAYOUTS[layout], clip_length=32, width=width)


def random_joints(samples: int = 2, joints: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, 3, 5, joints, 2, dtype=torch.float64, generator=generator)


def test_values_are_those_of_the_released_code() -> None:
    shapes: dict[str, tuple[int, ...]] = {"pos_embedding": (1, 25, 128)}
    for block in range(len(BLOCKS)):
        channels = 128 if block < 5 else 256
        shapes |= {f"t{block}.mlp.weight": (channels, NUM_ELEMENTS), f"t{block}.mlp.bias": (channels,)}
        leaves = ("weight", "bias", "running_mean", "running_var")
        shapes |= {f"t{block}.bn.{leaf}": (channels,) for leaf in leaves}
    model = fill_by_recipe(create(), 60, shapes).eval()
    joints = recipe_input("blockgcn")
    with torch.no_grad():
        logits = model(joints)[:, :3]
    torch.testing.assert_close(logits, torch.tensor(LOGITS, dtype=torch.float64), rtol=1e-9, atol=0.0)
    model.train()
    barcode = persistence_barcode(joints[:1]).expand(3, -1)
    loss, gradient = train_once(model, model.backbone(joints, barcode))
    assert loss == pytest.approx(LOSS, rel=1e-9)
    assert gradient == pytest.approx(GRADIENT, rel=1e-9)


def convolve_plainly(unit: BlockGraphConv, x: Tensor) -> Tensor:
    """Head by head, subset by subset."""
    heads = []
    for h, part in enumerate(x.chunk(HEADS, dim=1)):
        total = torch.zeros(())
        for k in range(SUBSETS):
            graph = torch.zeros_like(unit.joint_weight[k, h])
            by_hops = unit.hop_weight[k, h][unit.hops]
            for weights in (unit.joint_weight[k, h], by_hops):
                graph = graph + weights / (weights.square().sum(dim=0).sqrt() + NORM_FLOOR)
            weight = unit.weight[k].chunk(HEADS)[h]
            mixed = torch.einsum("oc,nctv->notv", weight, part @ graph)
            total = total + mixed + unit.bias[k].chunk(HEADS)[h][:, None, None]
        heads.append(total)
    return unit.finish(torch.cat(heads, dim=1), x)


def test_all_heads_at_once_equal_one_after_another() -> None:
    torch.manual_seed(0)
    unit = BlockGraphConv(16, 32, hop_distances(LAYOUTS["coco17"])).double().eval()
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(2, 16, 4, 17, dtype=torch.float64)
    torch.testing.assert_close(unit(x), convolve_plainly(unit, x), rtol=1e-12, atol=1e-12)


def test_graphs_start_as_the_joint_itself_and_no_hop_weighs() -> None:
    unit = create(width=0.25).blocks[0].graph
    torch.testing.assert_close(unit.graphs()[1, 3], torch.eye(25), rtol=1e-3, atol=1e-7)
    assert not unit.hop_weight.any()
    assert bool((unit.finish.norm.weight == 1).all())


def test_parameter_count_is_that_of_the_released_model() -> None:
    with torch.device("meta"):
        model = Model(create(), 120)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_388_200


def test_bars_are_the_edges_of_the_minimum_spanning_tree() -> None:
    joints = random_joints()
    places = joints.mean(dim=(2, 4)).transpose(1, 2).numpy()
    for bars, place in zip(persistence_barcode(joints), places, strict=True):
        distances = np.linalg.norm(place[:, None] - place[None], axis=-1)
        distances /= distances.max()
        between = np.linalg.norm(distances[:, None] - distances[None], axis=-1)
        np.testing.assert_allclose(bars, np.sort(minimum_spanning_tree(between).data), rtol=1e-12)


def test_barcode_does_not_see_rotation_translation_scale_or_order() -> None:
    joints = random_joints()
    turn = torch.tensor(Rotation.from_euler("xyz", (0.3, -1.0, 2.0)).as_matrix())
    moved = 3.0 * torch.einsum("dc,nctvm->ndtvm", turn, joints) + 5.0
    moved = moved[:, :, [4, 2, 0, 1, 3]][:, :, :, [6, 0, 3, 1, 2, 5, 4]].flip(-1)
    torch.testing.assert_close(persistence_barcode(moved), persistence_barcode(joints))


def test_barcode_of_a_sample_does_not_depend_on_its_batch() -> None:
    joints = random_joints(3)
    torch.testing.assert_close(persistence_barcode(joints)[1:2], persistence_barcode(joints[1:2]))


def test_barcode_of_an_empty_clip_is_finite() -> None:
    assert not persistence_barcode(torch.zeros(1, 3, 5, 7, 2)).any()


def test_kept_barcode_gives_the_same_features_as_one_made_on_the_way() -> None:
    backbone = create(width=0.25).eval()
    joints = torch.randn(2, 3, 8, 25, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(backbone(joints), backbone(joints, persistence_barcode(joints)))
        assert not torch.equal(backbone(joints), backbone(joints, persistence_barcode(joints).flip(0)))


def test_reader_sums_the_structure_elements_over_the_bars() -> None:
    torch.manual_seed(0)
    reader = BarcodeReader(6).eval()
    barcode = torch.rand(1, 4)
    reader.linear.weight.data = torch.eye(6, NUM_ELEMENTS)
    reader.linear.bias.data.zero_()
    expected = sum(
        torch.exp(-((reader.sharpness * (reader.centres - torch.tensor([0.0, float(bar)]))) ** 2).sum(dim=1))
        for bar in barcode[0]
    )
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(reader(barcode)[0], expected[:6] / (1 + 1e-5) ** 0.5)
