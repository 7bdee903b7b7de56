"""The topological fingerprint of a clip's skeleton: when its joints become one component.

A barcode depends on the joints alone and is not differentiated, so it may be computed once for a
sample and kept (`persistence_barcode`), instead of anew in every pass.
"""

from __future__ import annotations

import torch
from torch import Tensor


def persistence_barcode(joints_NCTVM: Tensor) -> Tensor:
    """Lengths of the 0-dimensional bars of the Vietoris-Rips complex over the joints, sorted.

    Joint distances are those of the joints' mean positions (mean over frames of the displacement
    between two joints), scaled to [0, 1] within the sample; a joint's point is its row of distances.
    Every component is born at 0 and dies when it meets another, at an edge of the minimum spanning
    tree (the component that never dies is left out).

    The publication scales by the smallest and largest distance of the whole batch, which makes a
    sample's bars depend on its neighbours; for a batch of one the two agree.

    Source: BlockGCN (CVPR 2024, arXiv:2305.11468), static topological encoding.

    Args:
        joints_NCTVM: (N, C, T, V, M) joints, in any unit: not bones, not motion.

    Returns:
        (N, V - 1) float, no unit, without gradient; invariant to rotation, translation, scale, and
        the order of joints, frames and bodies.
    """
    with torch.no_grad():
        joints = joints_NCTVM if joints_NCTVM.dtype == torch.float64 else joints_NCTVM.float()
        places = joints.mean(dim=(2, 4)).transpose(1, 2)  # (N, V, C)
        distances = _pairwise(places)
        largest = distances.amax(dim=(1, 2), keepdim=True)
        distances = distances / largest.clamp_min(torch.finfo(distances.dtype).tiny)
        return _spanning_tree_edges(_pairwise(distances)).sort(dim=1).values


def _pairwise(points: Tensor) -> Tensor:
    """(N, V, D) → (N, V, V) Euclidean distances, exact zeros on the diagonal."""
    return torch.linalg.vector_norm(points.unsqueeze(2) - points.unsqueeze(1), dim=-1)


def _spanning_tree_edges(distances: Tensor) -> Tensor:
    """Prim's algorithm for the whole batch: (N, V, V) → (N, V - 1) edge lengths of the minimum spanning trees."""
    n, joints, _ = distances.shape
    reached = torch.zeros_like(distances[:, 0]).bool()
    reached[:, 0] = True
    nearest = distances[:, 0]  # of every joint to the tree
    edges: list[Tensor] = []
    for _ in range(joints - 1):
        length, joint = nearest.masked_fill(reached, float("inf")).min(dim=1, keepdim=True)
        edges.append(length)
        reached = reached.scatter(1, joint, True)
        row = distances.gather(1, joint.unsqueeze(-1).expand(n, 1, joints)).squeeze(1)
        nearest = torch.minimum(nearest, row)
    return torch.cat(edges, dim=1)
