"""Skeletons of 20 joints as skeletons of 25: ours, since the publication does not give its rule.

Every joint of the Kinect v2 is a weighted sum of joints of the Kinect v1 (weights sum to 1, so that a shift stays a
shift). The shares were measured on real NTU skeletons: the neck lies at 0.35 of the way from the shoulders to the head,
the spine middle at 0.57 from the base to the shoulders, the hand tip 1.75 times as far from the wrist as the hand, the
thumb as far as the hand. The v1 joint `spine` is left out: in UTD-MHAD it lies at 0.16 of the way, close to the hips.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.store import Layout, UserError

Rules = Mapping[str, Mapping[str, float]]

_SAME = [
    f"{side}_{part}"
    for side in ("left", "right")
    for part in ("shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "foot")
]
TO_NTU: Rules = {
    "spine_base": {"hip_centre": 1.0},
    "spine_middle": {"hip_centre": 0.43, "shoulder_centre": 0.57},
    "neck": {"shoulder_centre": 0.65, "head": 0.35},
    "head": {"head": 1.0},
    "spine_shoulder": {"shoulder_centre": 1.0},
    "left_hand_tip": {"left_wrist": -0.75, "left_hand": 1.75},
    "left_thumb": {"left_hand": 1.0},
    "right_hand_tip": {"right_wrist": -0.75, "right_hand": 1.75},
    "right_thumb": {"right_hand": 1.0},
    **{name: {name: 1.0} for name in _SAME},
}
ORIGIN = "spine_middle"  # put into the origin in frame 0: joint index 1 of NTU, as published


def find_matrix(source: Layout, target: Layout, rules: Rules = TO_NTU) -> NDArray[np.float32]:
    """(V target, V source) weights; the identity where the layouts have the same joints.

    Raises:
        UserError: a joint of the target has no rule, or a rule names a joint the source lacks.
    """
    if source.joints == target.joints:
        return np.eye(target.num_joints, dtype=np.float32)
    matrix = np.zeros((target.num_joints, source.num_joints), dtype=np.float32)
    for row, joint in enumerate(target.joints):
        parts = rules.get(joint)
        unknown = [name for name in parts or () if name not in source.joints]
        if not parts or unknown:
            lack = f"needs {unknown[0]!r}" if unknown else "has no rule"
            raise UserError(
                f"no way from {source.name} ({source.num_joints} joints) to {target.name} ({target.num_joints}): "
                f"{joint!r} {lack}; give one with --map FILE.json"
            )
        for name, share in parts.items():
            matrix[row, source.joints.index(name)] = share
    return matrix


def parse_rules(value: Any, where: Path) -> Rules:
    """The "joints" of a map file: target joint → {source joint: weight}; UserError where it is none."""
    try:
        rules = {
            str(joint): {str(name): float(share) for name, share in parts.items()}
            for joint, parts in value.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{where}: joints: expected {{joint: {{joint: weight}}}} ({error})") from None
    for joint, parts in rules.items():
        if abs(sum(parts.values()) - 1) > 1e-6:
            raise UserError(
                f"{where}: joints: the weights of {joint!r} sum to {sum(parts.values()):g}, not 1"
            )
    return rules


def map_joints(
    joints_TMVC: NDArray[np.float32], matrix: NDArray[np.float32], layout: Layout
) -> NDArray[np.float32]:
    """(T, M, V source, C) → (T, M, V target, C), the origin of frame 0 subtracted; absent bodies stay 0."""
    mapped = np.einsum("wv,tmvc->tmwc", matrix, joints_TMVC)
    absent = ~joints_TMVC.any(axis=(2, 3))
    if ORIGIN in layout.joints:
        mapped = mapped - mapped[0, 0, layout.joints.index(ORIGIN)]
    mapped[absent] = 0
    found: NDArray[np.float32] = mapped.astype(np.float32)
    return found
