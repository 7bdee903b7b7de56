"""Layouts are trees; graph and bones both derive from them."""

from __future__ import annotations

import json

import pytest

from mmcl_cache.store import LAYOUTS, CacheError, Layout


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_built_in_layout_survives_json(name: str) -> None:
    layout = LAYOUTS[name]
    assert layout.name == name and len(layout.bones) == layout.num_joints - 1
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


def test_hand_tips_hang_on_thumbs_in_one_convention_and_on_hands_in_the_other() -> None:
    by_name = {
        name: dict(zip(LAYOUTS[name].joints, LAYOUTS[name].parents, strict=True))
        for name in ("ntu25", "ntu25-hands")
    }
    joints = LAYOUTS["ntu25"].joints
    assert joints[by_name["ntu25"]["left_hand_tip"]] == "left_thumb"
    assert joints[by_name["ntu25-hands"]["left_hand_tip"]] == "left_hand"
    assert joints[LAYOUTS["ntu25"].centre] == "spine_shoulder"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parents": [1, 0, 2]}, "hangs on itself"),
        ({"parents": [0, 2, 1]}, "does not hang on the centre"),
        ({"parents": [0, 0]}, "3 joints but 2 parents"),
        ({"parents": [0, 0, 9]}, "hangs on 9"),
        ({"joints": ["a", "a", "b"]}, "twice"),
        ({"centre": True}, "whole numbers"),
        ({"joints": None}, "lists"),
    ],
)
def test_what_is_no_tree_is_refused(change: dict[str, object], message: str) -> None:
    value = {"name": "mine", "joints": ["a", "b", "c"], "parents": [0, 0, 1], "centre": 0, **change}
    with pytest.raises(CacheError, match=message):
        Layout.from_json(value)
