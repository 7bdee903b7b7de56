"""What is special to the multi-granular network: two branches, two heads."""

from __future__ import annotations

import pytest
import torch

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones.mggcn import MGGCN


@pytest.fixture(scope="module")
def backbone() -> MGGCN:
    torch.manual_seed(0)
    return MGGCN(layout=LAYOUTS["coco17"], num_bodies=1, clip_length=16, in_channels=3, width=0.125).eval()


def test_logits_are_the_sum_of_the_fine_and_the_coarse_head(backbone: MGGCN) -> None:
    classifier = backbone.create_classifier(5)
    features = torch.randn(3, backbone.num_features)
    fine, coarse = features.split(list(backbone.head_sizes), dim=1)
    expected = classifier.heads[0](fine) + classifier.heads[1](coarse)
    torch.testing.assert_close(classifier(features), expected)


def test_coarse_branch_reads_every_second_frame_of_the_shared_stage(backbone: MGGCN) -> None:
    lengths = {}
    hooks = [
        backbone.stages[name].register_forward_pre_hook(
            lambda _, given, name=name: lengths.update({name: given[0].shape[2]})
        )
        for name in ("2_fine", "2_coarse", "3_fine", "3_coarse")
    ]
    with torch.no_grad():
        backbone(torch.randn(1, 3, 16, 17, 1))
    for hook in hooks:
        hook.remove()
    assert lengths == {"2_fine": 16, "2_coarse": 8, "3_fine": 8, "3_coarse": 4}


@pytest.mark.parametrize("frames", [1, 7, 13])
def test_branches_meet_at_clips_of_odd_length(backbone: MGGCN, frames: int) -> None:
    with torch.no_grad():
        assert backbone(torch.randn(2, 3, frames, 17, 1)).shape == (2, backbone.num_features)
