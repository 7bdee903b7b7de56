"""A layout seen from another root: parents, levels of the tree, and HD-GCN's hierarchy edges."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mmcl_cache.store import Layout
from mmcl_train.graphs.adjacency import Matrix, hop_distances, link_matrix, normalise_columns

Groups = tuple[tuple[int, ...], ...]

MAX_GROUPS = 7  # levels beyond the seventh join the last, as in HD-GCN's tables

# HD-GCN's own groups for NTU's 25 joints, 1-based as printed, by centre of mass. From the centre 21 the
# hand tips count as hanging on the hands, which the tree of "ntu25" (22 → 23 → 8) alone would not give.
_NTU_GROUPS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: (
        (1,),
        (2, 13, 17),
        (14, 18, 21),
        (3, 5, 9, 15, 19),
        (4, 6, 10, 16, 20),
        (7, 11),
        (8, 12, 22, 23, 24, 25),
    ),
    2: (
        (2,),
        (1, 21),
        (13, 17, 3, 5, 9),
        (14, 18, 4, 6, 10),
        (15, 19, 7, 11),
        (16, 20, 8, 12),
        (22, 23, 24, 25),
    ),
    21: (
        (21,),
        (2, 3, 5, 9),
        (4, 6, 10, 1),
        (7, 11, 13, 17),
        (8, 12, 14, 18),
        (22, 23, 24, 25, 15, 19),
        (16, 20),
    ),
}


def reroot(layout: Layout, root: int) -> tuple[int, ...]:
    """Parents (0-based) when the tree hangs on `root`; the root hangs on itself."""
    distances = hop_distances(layout)
    parents = list(range(layout.num_joints))
    for joint in range(layout.num_joints):
        for other in np.flatnonzero(distances[joint] == 1):
            if distances[other, root] < distances[joint, root]:
                parents[joint] = int(other)
    return tuple(parents)


def heaviest_child(layout: Layout, joint: int) -> int:
    """The child of `joint` with the most joints below it (the first of equals); `joint` if it is a leaf."""
    below = np.zeros(layout.num_joints, dtype=np.int64)
    for start in range(layout.num_joints):
        at = start
        while at != layout.parents[at]:
            below[at] += 1
            at = layout.parents[at]
    children = [child for child, parent in layout.bones if parent == joint]
    return max(children, key=lambda child: (below[child], -child), default=joint)


def trunk_joint(layout: Layout, steps: int) -> int:
    """The joint `steps` down from the centre, along the heaviest branch.

    In Kinect layouts that walks down the spine: chest (0), belly (1), pelvis (2).
    """
    joint = layout.centre
    for _ in range(steps):
        joint = heaviest_child(layout, joint)
    return joint


def joint_groups(layout: Layout, root: int) -> Groups:
    """Joints by level below `root`, at most seven levels; HD-GCN's own tables for NTU's joints.

    Source: HD-GCN (arXiv:2208.10741), section 3.1; other layouts by breadth-first levels of their tree.
    """
    if layout.name.startswith("ntu25") and root + 1 in _NTU_GROUPS:
        return tuple(tuple(joint - 1 for joint in group) for group in _NTU_GROUPS[root + 1])
    levels = np.minimum(hop_distances(layout)[root], MAX_GROUPS - 1)
    return tuple(tuple(int(v) for v in np.flatnonzero(levels == n)) for n in range(int(levels.max()) + 1))


def hierarchy_stack(groups: Sequence[Sequence[int]], num_joints: int) -> Matrix:
    """(levels - 1, 3, V, V): self, outward and inward links between each pair of neighbouring levels.

    Every joint of a level is linked with every joint of the next; the latter two are column-normalised.

    Source: HD-GCN (arXiv:2208.10741), section 3.1, hierarchical decomposition.
    """
    stacks = []
    for upper, lower in pairwise(groups):
        down = [(a, b) for a in upper for b in lower]
        up = [(b, a) for a, b in down]
        stacks.append(
            np.stack(
                [
                    link_matrix([(v, v) for v in (*upper, *lower)], num_joints),
                    normalise_columns(link_matrix(down, num_joints)),
                    normalise_columns(link_matrix(up, num_joints)),
                ]
            )
        )
    return np.stack(stacks)
