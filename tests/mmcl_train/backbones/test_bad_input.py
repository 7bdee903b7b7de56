"""What a backbone cannot take is said in one line, and what is derived is said too."""

from __future__ import annotations

import pytest
import torch

from mmcl_cache.store import LAYOUTS, Layout
from mmcl_train.backbones import BACKBONES, create_backbone

STICK = Layout("stick", ("top", "middle", "bottom"), (0, 0, 1), 0)


def test_unknown_name_lists_every_known_one() -> None:
    with pytest.raises(ValueError) as caught:
        create_backbone("ctr-gcn", layout=LAYOUTS["ntu25"])
    assert all(name in str(caught.value) for name in BACKBONES) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["hdgcn", "hdgcn_com1", "hdgcn_com2"])
def test_hierarchy_of_a_layout_without_tables_is_derived_and_said(name: str) -> None:
    derived = create_backbone(name, layout=LAYOUTS["coco17"], clip_length=8, width=0.125)
    assert "no hierarchy for layout coco17" in derived.remark and "tree" in derived.remark
    assert not create_backbone(name, layout=LAYOUTS["ntu25"], clip_length=8, width=0.125).remark


@pytest.mark.parametrize("name", ["psumnet_hand", "psumnet_leg"])
def test_part_that_a_layout_lacks_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="stick") as caught:
        create_backbone(name, layout=STICK, clip_length=8, width=0.125)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_shortest_clip_is_taken_and_a_shorter_one_refused(name: str) -> None:
    least = BACKBONES[name].min_clip_length * BACKBONES[name].clip_multiple
    made = create_backbone(name, layout=LAYOUTS["ntu25"], clip_length=least, width=0.125).eval()
    with torch.no_grad():
        features = made(torch.randn(1, 3, least, 25, 2))
    assert features.shape == (1, made.num_features) and features.isfinite().all()
    with pytest.raises(ValueError, match="too short") as caught:
        create_backbone(name, layout=LAYOUTS["ntu25"], clip_length=least - 1, width=0.125)
    assert "\n" not in str(caught.value)


def test_clip_of_another_length_is_refused_where_the_length_is_built_in() -> None:
    made = create_backbone("dynamicgcn", layout=LAYOUTS["ntu25"], clip_length=16, width=0.125)
    with pytest.raises(ValueError, match="built for clips of 16 frames, got 20"):
        made(torch.zeros(1, 3, 20, 25, 2))
