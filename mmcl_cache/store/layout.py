"""A skeleton layout: which joints there are and which joint each one hangs on.

Graphs and bones both derive from a layout, so that the two can never disagree. The cache stores the layout
of its skeletons; stage 2 needs no data set code to know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmcl_cache.errors import CacheError

MAX_JOINTS = 1000


@dataclass(frozen=True)
class Layout:
    """A tree of joints.

    Args:
        name: of the convention.
        joints: V names, in storage order.
        parents: V indices, 0-based; joint v hangs on parents[v], the centre on itself.
        centre: 0-based index of the root.

    Raises:
        CacheError: the parents do not form one tree whose root is the centre.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    centre: int

    def __post_init__(self) -> None:
        count = len(self.joints)
        if count > MAX_JOINTS:
            raise CacheError(f"layout {self.name[:60]!r}: {count} joints; the limit is {MAX_JOINTS}")
        if len(self.parents) != count:
            raise CacheError(f"layout {self.name!r}: {count} joints but {len(self.parents)} parents")
        if len(set(self.joints)) != count:
            raise CacheError(f"layout {self.name!r}: a joint name is there twice")
        if not 0 <= self.centre < count or self.parents[self.centre] != self.centre:
            raise CacheError(
                f"layout {self.name!r}: the centre {self.centre} must be a joint that hangs on itself"
            )
        for joint in range(count):
            at = joint
            for _ in range(count):
                if not 0 <= self.parents[at] < count:
                    raise CacheError(
                        f"layout {self.name!r}: joint {at} hangs on {self.parents[at]}, which is none"
                    )
                at = self.parents[at]
            if at != self.centre:
                raise CacheError(
                    f"layout {self.name!r}: joint {self.joints[joint]!r} does not hang on the centre"
                )

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(child, parent) of every joint but the centre, in joint order."""
        return tuple((v, p) for v, p in enumerate(self.parents) if v != self.centre)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "joints": list(self.joints),
            "parents": list(self.parents),
            "centre": self.centre,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Layout:
        """The layout that `to_json` wrote, or that a person wrote by hand.

        Raises:
            CacheError: a key is missing or of the wrong type.
        """
        try:
            name, joints, parents, centre = (value[k] for k in ("name", "joints", "parents", "centre"))
        except (KeyError, TypeError):
            raise CacheError("a layout needs the keys name, joints, parents (0-based) and centre") from None
        if not (isinstance(name, str) and isinstance(joints, list) and isinstance(parents, list)):
            raise CacheError("a layout's name is text, its joints and parents are lists")
        if not all(isinstance(j, str) for j in joints):
            raise CacheError(f"layout {name!r}: joint names are text")
        if not all(type(p) is int for p in [*parents, centre]):
            raise CacheError(f"layout {name!r}: parents and centre are whole numbers")
        return cls(name, tuple(joints), tuple(parents), centre)


def _tree(name: str, joints: str, parents: str, centre: int) -> Layout:
    """A layout from space-separated names and 1-based parents, as publications print them."""
    hung = tuple(int(p) - 1 for p in parents.split())
    return Layout(name, tuple(joints.split()), hung, centre - 1)


_NTU_JOINTS = (
    "spine_base spine_middle neck head left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow "
    "right_wrist right_hand left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot "
    "spine_shoulder left_hand_tip left_thumb right_hand_tip right_thumb"
)
_KINECT20_JOINTS = (
    "hip_centre spine shoulder_centre head left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow "
    "right_wrist right_hand left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot"
)
_KINECT20_PARENTS = "2 3 3 3 3 5 6 7 3 9 10 11 1 13 14 15 1 17 18 19"

LAYOUTS: dict[str, Layout] = {
    # CTR-GCN's family: hand tips hang on the thumbs, thumbs on the hands.
    "ntu25": _tree(
        "ntu25", _NTU_JOINTS, "2 21 21 3 21 5 6 7 21 9 10 11 1 13 14 15 1 17 18 19 21 23 8 25 12", centre=21
    ),
    # pyskl's family: hand tips and thumbs all hang on the hands.
    "ntu25-hands": _tree(
        "ntu25-hands",
        _NTU_JOINTS,
        "2 21 21 3 21 5 6 7 21 9 10 11 1 13 14 15 1 17 18 19 21 8 8 12 12",
        centre=21,
    ),
    "nw-ucla20": _tree("nw-ucla20", _KINECT20_JOINTS, _KINECT20_PARENTS, centre=3),
    "kinect20": _tree("kinect20", _KINECT20_JOINTS, _KINECT20_PARENTS, centre=3),
    # UTD-MHAD stores the Kinect v1 joints with the trunk from the head down.
    "utd-mhad20": _tree(
        "utd-mhad20",
        "head shoulder_centre spine hip_centre left_shoulder left_elbow left_wrist left_hand right_shoulder "
        "right_elbow right_wrist right_hand left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle "
        "right_foot",
        "2 2 2 3 2 5 6 7 2 9 10 11 4 13 14 15 4 17 18 19",
        centre=2,
    ),
    "coco17": _tree(
        "coco17",
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
        "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle",
        "1 1 1 2 3 1 1 6 7 8 9 6 7 12 13 14 15",
        centre=1,
    ),
    "openpose18": _tree(
        "openpose18",
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee "
        "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear",
        "2 2 2 3 4 2 6 7 2 9 10 2 12 13 1 1 15 16",
        centre=2,
    ),
    "mediapipe33": _tree(
        "mediapipe33",
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
        "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
        "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
        "right_ankle left_heel right_heel left_foot_index right_foot_index",
        "1 1 2 3 1 5 6 4 7 1 1 1 1 12 13 14 15 16 17 16 17 16 17 12 13 24 25 26 27 28 29 28 29",
        centre=1,
    ),
}
