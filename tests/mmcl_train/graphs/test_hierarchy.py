"""Trees seen from other roots, and HD-GCN's levels."""

from __future__ import annotations

import numpy as np
import pytest

from mmcl_cache.store import LAYOUTS, Layout
from mmcl_train.graphs.hierarchy import heaviest_child, hierarchy_stack, joint_groups, reroot, trunk_joint

FORK = Layout("fork", ("a", "b", "c", "d"), (0, 0, 1, 1), 0)


def test_rerooting_turns_the_way_to_the_root_round() -> None:
    assert reroot(FORK, 2) == (1, 2, 2, 1)


def test_rerooting_at_the_centre_changes_nothing() -> None:
    for layout in LAYOUTS.values():
        assert reroot(layout, layout.centre) == layout.parents


def test_heaviest_child_of_a_leaf_is_itself() -> None:
    assert heaviest_child(FORK, 3) == 3


@pytest.mark.parametrize("name", ["ntu25", "ntu25-hands", "nw-ucla20"])
def test_trunk_of_kinect_layouts_goes_down_the_spine(name: str) -> None:
    layout = LAYOUTS[name]
    named = [layout.joints[trunk_joint(layout, steps)] for steps in (1, 2)]
    assert named in (["spine_middle", "spine_base"], ["spine", "hip_centre"])


def test_levels_hold_every_joint_once_for_any_layout_and_root() -> None:
    for layout in LAYOUTS.values():
        for steps in range(3):
            groups = joint_groups(layout, trunk_joint(layout, steps))
            assert sorted(v for group in groups for v in group) == list(range(layout.num_joints))
            assert 2 <= len(groups) <= 7


def test_published_groups_are_the_levels_of_the_tree_with_tips_on_hands() -> None:
    derived = Layout("derived", LAYOUTS["ntu25-hands"].joints, LAYOUTS["ntu25-hands"].parents, 20)
    for steps in range(3):
        published = joint_groups(LAYOUTS["ntu25"], trunk_joint(LAYOUTS["ntu25"], steps))
        found = joint_groups(derived, trunk_joint(derived, steps))
        assert [set(group) for group in found] == [set(group) for group in published]


def test_hierarchy_links_whole_levels_both_ways() -> None:
    stack = hierarchy_stack(((0,), (1,), (2, 3)), 4)
    assert stack.shape == (2, 3, 4, 4)
    np.testing.assert_array_equal(np.flatnonzero(np.diagonal(stack[1, 0])), [1, 2, 3])
    np.testing.assert_allclose(stack[1, 1][:, 1], [0, 0, 0.5, 0.5])
    np.testing.assert_array_equal(stack[1, 1] > 0, (stack[1, 2] > 0).T)
