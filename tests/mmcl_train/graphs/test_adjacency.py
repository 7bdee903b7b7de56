"""Adjacency matrices against hand-made cases and against what holds for any layout."""

from __future__ import annotations

import numpy as np
import pytest

from mmcl_cache.store import LAYOUTS, Layout
from mmcl_train.graphs.adjacency import (
    binary,
    disentangled_stack,
    hop_distances,
    inward_edges,
    k_hop,
    link_matrix,
    normalise_columns,
    normalise_symmetric,
    outward_edges,
    power_stack,
    spatial_configuration,
    spatial_stack,
)

# 0 ← 1 ← 2, 1 ← 3: a path with a fork, centre 0.
FORK = Layout("fork", ("a", "b", "c", "d"), (0, 0, 1, 1), 0)


@pytest.fixture(params=sorted(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> Layout:
    return LAYOUTS[request.param]


def test_inward_links_run_from_child_to_parent() -> None:
    assert inward_edges(FORK) == [(1, 0), (2, 1), (3, 1)]
    assert outward_edges(FORK) == [(0, 1), (1, 2), (1, 3)]
    assert link_matrix(inward_edges(FORK), 4)[0, 1] == 1.0


def test_columns_sum_to_one_or_zero() -> None:
    sums = normalise_columns(link_matrix(outward_edges(FORK), 4)).sum(axis=0)
    np.testing.assert_allclose(sums, [1, 1, 0, 0])


def test_symmetric_normalisation_keeps_symmetry_and_lone_joints() -> None:
    matrix = binary(FORK)
    matrix[3] = matrix[:, 3] = 0.0
    normal = normalise_symmetric(matrix)
    np.testing.assert_allclose(normal, normal.T)
    assert not normal[3].any()
    np.testing.assert_allclose(normal[0, 1], 1 / np.sqrt(1 * 2))


def test_hop_distances_count_bones() -> None:
    np.testing.assert_array_equal(hop_distances(FORK)[2], [2, 1, 0, 2])


def test_spatial_stack_holds_every_bone_once_each_way(layout: Layout) -> None:
    own, inward, outward = spatial_stack(layout)
    np.testing.assert_array_equal(own, np.eye(layout.num_joints))
    np.testing.assert_array_equal(inward > 0, (outward > 0).T)
    assert (inward > 0).sum() == layout.num_joints - 1


def test_spatial_configuration_splits_the_normalised_neighbourhood(layout: Layout) -> None:
    stack = spatial_configuration(layout)
    np.testing.assert_allclose(stack.sum(axis=0), normalise_columns(binary(layout, with_self=True)))
    assert ((stack > 0).sum(axis=0) <= 1).all()


def test_k_hop_is_the_joints_k_bones_away(layout: Layout) -> None:
    distances = hop_distances(layout)
    for k in range(5):
        np.testing.assert_array_equal(k_hop(binary(layout), k) > 0, distances == k)


def test_disentangled_scales_add_self_links(layout: Layout) -> None:
    stack = disentangled_stack(binary(layout), 4)
    assert stack.shape == (4, layout.num_joints, layout.num_joints)
    assert (np.diagonal(stack, axis1=1, axis2=2) > 0).all()


def test_power_scales_reach_at_most_as_far(layout: Layout) -> None:
    distances = hop_distances(layout)
    for k, matrix in enumerate(power_stack(binary(layout), 4)):
        np.testing.assert_array_equal(matrix > 0, distances <= k)
