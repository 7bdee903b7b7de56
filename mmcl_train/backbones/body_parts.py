"""Parts of a skeleton as graphs of their own: which joints, in which order, how they hang together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmcl_cache.store import LAYOUTS, Layout
from mmcl_train.graphs.adjacency import Edge, Matrix, link_matrix, normalise_columns

# What the joints of an arm and of a leg are called, behind `left_` or `right_`.
ARM_WORDS = ("shoulder", "elbow", "wrist", "hand", "hand_tip", "thumb", "pinky", "index")
LEG_WORDS = ("hip", "knee", "ankle", "foot", "heel", "foot_index")

# Links of NTU's parts as published, (child, parent) in the part's own order. The hands' tips and thumbs
# both hang on the hands. In the legs the publication hangs the right hip on the left foot, the left foot
# on the base too, and leaves the right foot alone: kept, as its trained models were shown such bones.
_NTU_LINKS: dict[str, tuple[Edge, ...]] = {
    "hand": (
        *((1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 4)),
        *((7, 0), (8, 7), (9, 8), (10, 9), (11, 10), (12, 10)),
    ),
    "leg": ((1, 0), (2, 1), (3, 2), (4, 3), (4, 0), (5, 4), (6, 5), (7, 6)),
}


@dataclass(frozen=True)
class BodyPart:
    """Some joints of a layout.

    Attributes:
        joints: W indices into the layout, in the part's order.
        links: (child, parent) in the part's own numbering.
    """

    joints: tuple[int, ...]
    links: tuple[Edge, ...]

    @property
    def bone_ends(self) -> tuple[int, ...]:
        """For each joint the one its bone starts from; itself where it has no bone. Of two links the last."""
        ends = list(range(len(self.joints)))
        for child, parent in self.links:
            ends[child] = parent
        return tuple(ends)

    def spatial_stack(self) -> Matrix:
        """(3, W, W): self, inward, outward, as `graphs.adjacency.spatial_stack` of a whole layout."""
        count = len(self.joints)
        outward = [(parent, child) for child, parent in self.links]
        return np.stack(
            [
                np.eye(count),
                normalise_columns(link_matrix(self.links, count)),
                normalise_columns(link_matrix(outward, count)),
            ]
        )


def find_part(layout: Layout, name: str) -> BodyPart:
    """The part "body", "hand" (both arms) or "leg" (both legs) of a layout.

    A limb's joints are known by their names. First come the joints the limbs hang on, then the left
    limb, then the right. NTU's 25 joints are linked as PSUMNet published them, all others by the
    layout's own tree.

    Raises:
        ValueError: unknown part, or a layout that has no such limbs.
    """
    if name == "body":
        return BodyPart(tuple(range(layout.num_joints)), layout.bones)
    words = {"hand": ARM_WORDS, "leg": LEG_WORDS}
    if name not in words:
        raise ValueError(f"unknown part {name!r}; known: body, {', '.join(words)}")
    limbs = [v for side in ("left", "right") for v in _limb(layout, side, words[name])]
    if not limbs:
        raise ValueError(
            f"layout {layout.name!r} has no joints of the part {name!r}: "
            f"none is called left_ or right_ {', '.join(words[name])}"
        )
    anchors = sorted({layout.parents[v] for v in limbs} - set(limbs))
    joints = (*anchors, *limbs)
    if layout.joints == LAYOUTS["ntu25"].joints:
        return BodyPart(joints, _NTU_LINKS[name])
    place = {v: at for at, v in enumerate(joints)}
    hung = [v for v in limbs if layout.parents[v] != v]
    return BodyPart(joints, tuple((place[v], place[layout.parents[v]]) for v in hung))


def _limb(layout: Layout, side: str, words: Sequence[str]) -> list[int]:
    """The joints of one limb, in storage order; OpenPose-like `mouth_left` is none."""
    names = {f"{side}_{word}" for word in words}
    return [v for v, joint in enumerate(layout.joints) if joint in names]
