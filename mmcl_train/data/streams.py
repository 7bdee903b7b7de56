"""Input streams: what of the joints a backbone is shown.

A stream is bones of `hops` hops (0: the joints themselves), then motion or not; the published code takes
motion after the bone. Several streams of one sample are trained apart and their scores joined.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmcl_cache.store import Layout


@dataclass(frozen=True)
class Stream:
    """hops: joints up the tree to the joint that is subtracted, 0 for none; motion: next frame − this one."""

    hops: int
    motion: bool


STREAMS: dict[str, Stream] = {
    "joint": Stream(0, False),
    "bone": Stream(1, False),
    "joint_motion": Stream(0, True),
    "bone_motion": Stream(1, True),
    "bone2": Stream(2, False),
    "bone3": Stream(3, False),
    "bone4": Stream(4, False),
    "bone5": Stream(5, False),
    "bone6": Stream(6, False),
    "bone7": Stream(7, False),
    "bone8": Stream(8, False),
    "bone2_motion": Stream(2, True),
    "bone3_motion": Stream(3, True),
    "bone4_motion": Stream(4, True),
    "bone5_motion": Stream(5, True),
    "bone6_motion": Stream(6, True),
    "bone7_motion": Stream(7, True),
    "bone8_motion": Stream(8, True),
}


def find_stream(name: str) -> Stream:
    """The stream of that name. Raises ValueError that lists the known ones."""
    try:
        return STREAMS[name]
    except KeyError:
        raise ValueError(f"unknown stream {name!r}; known: {', '.join(STREAMS)}") from None


def find_ancestors(layout: Layout, hops: int) -> tuple[int, ...]:
    """For every joint the joint `hops` up the tree, or −1 where the tree ends before.

    One hop from the centre is the centre itself (its bone is zero, CTR-GCN's rule). With two hops and more a
    joint nearer to the centre than `hops` has no partner, as in InfoGCN's k-th mode (I − P^k) x, where P^k
    has an empty row there. InfoGCN's own tree is rooted at the spine middle (NTU joint 2); here the root is
    the layout's centre, so one tree serves graphs and streams alike.
    """
    if hops < 1:
        raise ValueError(f"hops must be at least 1, not {hops}")
    if hops == 1:
        return layout.parents
    found = []
    for joint in range(layout.num_joints):
        at = joint
        for _ in range(hops):
            at = -1 if at in (-1, layout.centre) else layout.parents[at]
        found.append(at)
    return tuple(found)


class StreamTransform:
    """One stream of one layout, ready for a device; called on joints, batched.

    Args:
        stream: a name of `STREAMS`.
        layout: of the joints.
        device: of the joints.
    """

    def __init__(self, stream: str, layout: Layout, device: torch.device | str = "cpu") -> None:
        self.stream = find_stream(stream)
        self._partners: Tensor | None = None
        self._has_partner: Tensor | None = None
        if self.stream.hops:
            partners = find_ancestors(layout, self.stream.hops)
            self._partners = torch.tensor([max(p, 0) for p in partners], device=device)
            if min(partners) < 0:
                self._has_partner = torch.tensor([p >= 0 for p in partners], device=device)

    def __call__(self, joints: Tensor, joint_axis: int, time_axis: int) -> Tensor:
        """(…) → the same shape. Rows of zeros (an absent body) stay zeros."""
        if self._partners is not None:
            partner = joints.index_select(joint_axis, self._partners)
            if self._has_partner is not None:
                shape = [1] * joints.dim()
                shape[joint_axis] = -1
                partner = partner * self._has_partner.view(shape)
            joints = joints - partner
        if self.stream.motion:
            joints = take_motion(joints, time_axis)
        return joints


def take_motion(joints: Tensor, time_axis: int) -> Tensor:
    """Next frame − this one; zero in the last frame."""
    length = joints.shape[time_axis]
    moved = torch.zeros_like(joints)
    earlier = joints.narrow(time_axis, 0, length - 1)
    moved.narrow(time_axis, 0, length - 1).copy_(joints.narrow(time_axis, 1, length - 1)).sub_(earlier)
    return moved


def apply_stream(joints_NCTVM: Tensor, stream: str, layout: Layout) -> Tensor:
    """The stream of a batch of joints, (N, C, T, V, M) → the same shape."""
    return StreamTransform(stream, layout, joints_NCTVM.device)(joints_NCTVM, joint_axis=3, time_axis=2)
