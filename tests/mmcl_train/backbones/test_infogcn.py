"""InfoGCN's latent and its bottleneck loss."""

from __future__ import annotations

import pytest
import torch

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import create_backbone
from mmcl_train.backbones.infogcn import InformationBottleneck, bone_matrix


def test_latent_is_noisy_in_training_and_the_mean_in_eval() -> None:
    backbone = create_backbone(
        "infogcn", layout=LAYOUTS["nw-ucla20"], num_bodies=1, clip_length=8, width=0.25
    )
    joints = torch.randn(2, 3, 8, 20, 1)
    assert not torch.equal(backbone.train()(joints), backbone(joints))
    backbone.eval()
    assert torch.equal(backbone(joints), backbone(joints))


def test_bones_are_joint_minus_parent_and_the_root_stays() -> None:
    layout = LAYOUTS["nw-ucla20"]
    joints = torch.randn(20, 3, dtype=torch.float64)
    bones = bone_matrix(layout, 1) @ joints
    torch.testing.assert_close(bones[layout.centre], joints[layout.centre])
    for child, parent in layout.bones:
        torch.testing.assert_close(bones[child], joints[child] - joints[parent])


def test_bottleneck_pulls_class_means_to_their_priors() -> None:
    torch.manual_seed(0)
    loss = InformationBottleneck(4, 8, marginal=0.0, conditional=1.0)
    labels = torch.tensor([0, 0, 2])
    assert loss(loss.prior[labels], labels) == pytest.approx(0.0, abs=1e-12)
    features = torch.randn(3, 8)
    means = torch.stack([features[:2].mean(dim=0), features[2]])
    expected = torch.nn.functional.mse_loss(means, loss.prior[[0, 2]])
    torch.testing.assert_close(loss(features, labels), expected)


def test_bottleneck_weighs_the_length_of_the_mean() -> None:
    loss = InformationBottleneck(4, 8, marginal=2.0, conditional=0.0)
    features = torch.randn(5, 8)
    torch.testing.assert_close(
        loss(features, torch.zeros(5, dtype=torch.long)), 2.0 * features.mean(dim=0).norm()
    )


def test_only_infogcn_brings_a_loss_of_its_own() -> None:
    layout = LAYOUTS["nw-ucla20"]
    infogcn = create_backbone("infogcn", layout=layout, num_bodies=1, clip_length=8, width=0.25)
    assert isinstance(infogcn.create_regulariser(5), InformationBottleneck)
    ctrgcn = create_backbone("ctrgcn", layout=layout, num_bodies=1, clip_length=8, width=0.25)
    assert ctrgcn.create_regulariser(5) is None
