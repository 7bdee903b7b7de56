"""Adjacency matrices of a skeleton layout, in every form the field uses.

A layout is a tree: `layout.bones` are (child, parent) pairs. All functions are pure and return float64
arrays; matrices are (V, V) and read as `A[to, from]` for a product `A @ x` over joints, so the
published "inward" link child → parent sets `A[parent, child]`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.store import Layout

Matrix = NDArray[np.float64]
Edge = tuple[int, int]


def inward_edges(layout: Layout) -> list[Edge]:
    """The bones as (child, parent) pairs, by child."""
    return [(int(child), int(parent)) for child, parent in layout.bones]


def outward_edges(layout: Layout) -> list[Edge]:
    """The bones as (parent, child) pairs, by child."""
    return [(parent, child) for child, parent in inward_edges(layout)]


def self_edges(layout: Layout) -> list[Edge]:
    """(v, v) for every joint."""
    return [(v, v) for v in range(layout.num_joints)]


def link_matrix(edges: Iterable[Edge], num_joints: int) -> Matrix:
    """Directed links as a 0/1 matrix: an edge (i, j) sets A[j, i]."""
    matrix = np.zeros((num_joints, num_joints))
    for source, target in edges:
        matrix[target, source] = 1.0
    return matrix


def binary(layout: Layout, *, with_self: bool = False) -> Matrix:
    """Undirected 0/1 adjacency, (V, V); the diagonal is one with `with_self`."""
    matrix = link_matrix(inward_edges(layout) + outward_edges(layout), layout.num_joints)
    return matrix + np.eye(layout.num_joints) if with_self else matrix


def normalise_columns(matrix: Matrix) -> Matrix:
    """Divide every column by its sum (A D⁻¹); empty columns stay zero. Any leading axes."""
    sums = matrix.sum(axis=-2, keepdims=True)
    return np.divide(matrix, sums, out=np.zeros_like(matrix), where=sums > 0)


def normalise_symmetric(matrix: Matrix) -> Matrix:
    """D^(-1/2) A D^(-1/2) with D the row sums; rows without a link stay zero. Any leading axes."""
    degrees = matrix.sum(axis=-1)
    scale = np.divide(1.0, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0)
    return scale[..., :, None] * matrix * scale[..., None, :]


def spatial_stack(layout: Layout) -> Matrix:
    """(3, V, V): self, inward, outward, the latter two column-normalised.

    Source: 2s-AGCN (arXiv:1805.07694) and everything built on it ("labeling_mode: spatial").
    """
    count = layout.num_joints
    return np.stack(
        [
            np.eye(count),
            normalise_columns(link_matrix(inward_edges(layout), count)),
            normalise_columns(link_matrix(outward_edges(layout), count)),
        ]
    )


def hop_distances(layout: Layout) -> NDArray[np.int64]:
    """(V, V) number of bones between each pair of joints; -1 where there is no way."""
    count = layout.num_joints
    links = binary(layout) > 0
    distances = np.full((count, count), -1, dtype=np.int64)
    reached = np.eye(count, dtype=bool)
    frontier = reached
    for hop in range(count):
        distances[frontier] = hop
        frontier = ((frontier.astype(np.int64) @ links.astype(np.int64)) > 0) & ~reached
        reached = reached | frontier
    return distances


def spatial_configuration(layout: Layout) -> Matrix:
    """(3, V, V): ST-GCN's spatial configuration partition, normalised before it is split.

    Rows receive. Subset 0 is the joint itself; 1 joins a joint to neighbours that are not farther
    from the centre than it; 2 to those farther. The released code only knows distances up to one hop,
    so all joints beyond the centre's neighbours count as equally far, and most links are in subset 1;
    kept, since the published numbers are made with it.

    Source: ST-GCN (arXiv:1801.07455), section 3.3, spatial configuration partitioning.
    """
    distances = hop_distances(layout)
    normalised = normalise_columns(((distances >= 0) & (distances <= 1)).astype(np.float64))
    to_centre = np.minimum(distances[:, layout.centre], 2)
    row_farther = to_centre[:, None] >= to_centre[None, :]
    neighbours = distances == 1
    return np.stack(
        [
            normalised * (distances == 0),
            normalised * (neighbours & row_farther),
            normalised * (neighbours & ~row_farther),
        ]
    )


def k_hop(matrix: Matrix, k: int, *, with_self: bool = False, self_factor: float = 1.0) -> Matrix:
    """0/1 matrix of what is reached in exactly k steps of `matrix` (self steps allowed on the way).

    k = 0 is the identity. With `with_self`, `self_factor` is added to the diagonal.

    Source: MS-G3D (arXiv:2003.14111), equation 3 (disentangled k-adjacency).
    """
    identity = np.eye(len(matrix))
    if k == 0:
        return identity
    steps = matrix + identity
    within = np.minimum(np.linalg.matrix_power(steps, k), 1.0)
    nearer = np.minimum(np.linalg.matrix_power(steps, k - 1), 1.0)
    return within - nearer + (self_factor * identity if with_self else 0.0)


def disentangled_stack(matrix: Matrix, scales: int) -> Matrix:
    """(scales, V, V): k-hop neighbours with self links for k = 0 … scales-1, symmetrically normalised.

    Source: MS-G3D (arXiv:2003.14111), section 3.2.
    """
    return normalise_symmetric(np.stack([k_hop(matrix, k, with_self=True) for k in range(scales)]))


def power_stack(matrix: Matrix, scales: int) -> Matrix:
    """(scales, V, V): powers 0 … scales-1 of (A + I), symmetrically normalised.

    Source: the adjacency-power aggregation that MS-G3D (arXiv:2003.14111) compares itself with.
    """
    steps = matrix + np.eye(len(matrix))
    return np.stack([normalise_symmetric(np.linalg.matrix_power(steps, k)) for k in range(scales)])
