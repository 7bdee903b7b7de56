"""The list of backbones: every one, with numbers that are still true."""

from __future__ import annotations

import pytest

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import BACKBONES
from mmcl_train.backbones.listing import SIZES, describe_backbones, describe_clip_rule
from mmcl_train.backbones.sizes import measure_size


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_written_size_is_what_counting_gives(name: str) -> None:
    assert SIZES[name] == measure_size(name, layout=LAYOUTS["ntu25"], num_classes=120)


def test_every_backbone_has_a_line_with_its_publication() -> None:
    lines = {line.split()[0]: line for line in describe_backbones()[2:]}
    assert set(lines) == set(BACKBONES) == set(SIZES)
    assert "2021" in lines["ctrgcn"] and "1.46" in lines["ctrgcn"] and "ICCV 2021" in lines["ctrgcn"]


def test_clip_rule_says_what_a_backbone_cannot_take() -> None:
    assert describe_clip_rule(BACKBONES["ctrgcn"]) == "any T"
    assert "built for" in describe_clip_rule(BACKBONES["dynamicgcn"])
