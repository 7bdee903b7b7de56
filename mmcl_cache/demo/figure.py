"""An articulated figure with NTU's 25 joints: a pose goes in, joint positions come out.

World frame, metres: x to the right of a camera that stands at negative z, y up from the floor, z away from that
camera. A figure with yaw 0 looks at the camera, and its right hand is on the right of the picture: Kinect
recordings, NTU's among them, are mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["BONES", "JOINTS", "Build", "Pose", "draw_build", "solve_joints", "stand"]

JOINTS = (
    "spine_base", "spine_mid", "neck", "head",
    "l_shoulder", "l_elbow", "l_wrist", "l_hand",
    "r_shoulder", "r_elbow", "r_wrist", "r_hand",
    "l_hip", "l_knee", "l_ankle", "l_foot",
    "r_hip", "r_knee", "r_ankle", "r_foot",
    "spine_shoulder", "l_tip", "l_thumb", "r_tip", "r_thumb",
)  # fmt: skip
J = {name: index for index, name in enumerate(JOINTS)}

# (child, parent), 0-based, in NTU's order; the spine base has no parent.
BONES = (
    (1, 0), (20, 1), (2, 20), (3, 2), (4, 20), (5, 4), (6, 5), (7, 6), (8, 20), (9, 8), (10, 9), (11, 10),
    (12, 0), (13, 12), (14, 13), (15, 14), (16, 0), (17, 16), (18, 17), (19, 18), (21, 7), (22, 6), (23, 11), (24, 10),
)  # fmt: skip


@dataclass(frozen=True)
class Build:
    """Lengths of one person, metres; `girth` scales the thickness of the drawn limbs (no unit)."""

    torso: float
    neck: float
    head: float
    shoulders: float
    hips: float
    upper_arm: float
    forearm: float
    hand: float
    thigh: float
    shin: float
    foot: float
    girth: float

    @property
    def arm(self) -> float:
        """Shoulder to wrist, metres: the unit of hand targets."""
        return self.upper_arm + self.forearm


@dataclass(frozen=True)
class Pose:
    """What the figure does in T frames; every array starts with axis T.

    yaw, lean, sway, nod: (T,) radians. lean is forward from the hips, sway to the figure's right, nod forward.
    place: (T, 2) metres on the floor, x and z.
    left_hand, right_hand: (T, 3) wrist from its shoulder in the torso's frame, in arm lengths: out, up, forward.
    left_leg, right_leg: (T, 2) radians: hip flexion from the vertical, knee flexion.
    """

    yaw: np.ndarray
    lean: np.ndarray
    sway: np.ndarray
    nod: np.ndarray
    place: np.ndarray
    left_hand: np.ndarray
    right_hand: np.ndarray
    left_leg: np.ndarray
    right_leg: np.ndarray


def draw_build(rng: np.random.Generator) -> Build:
    """A person of 1.50 to 1.92 m with proportions of their own."""
    stature = float(rng.uniform(1.50, 1.92))

    def length(share: float) -> float:
        return stature * share * float(rng.uniform(0.94, 1.06))

    return Build(
        torso=length(0.285),
        neck=length(0.045),
        head=length(0.085),
        shoulders=length(0.205),
        hips=length(0.10),
        upper_arm=length(0.165),
        forearm=length(0.145),
        hand=length(0.045),
        thigh=length(0.240),
        shin=length(0.235),
        foot=length(0.085),
        girth=float(rng.uniform(0.85, 1.3)),
    )


def stand(length: int) -> Pose:
    """Standing at ease for `length` frames, looking at the camera."""

    def still(*values: float) -> np.ndarray:
        return np.tile(np.asarray(values, np.float64), (length, 1))

    zero = np.zeros(length)
    return Pose(
        yaw=zero.copy(),
        lean=zero.copy(),
        sway=zero.copy(),
        nod=zero.copy(),
        place=still(0, 0),
        left_hand=still(0.16, -0.93, 0.12),
        right_hand=still(0.16, -0.93, 0.12),
        left_leg=still(0.02, 0.04),
        right_leg=still(0.02, 0.04),
    )


def solve_joints(build: Build, pose: Pose) -> np.ndarray:
    """Forward kinematics.

    Returns:
        (T, 25, 3) float64 world coordinates, metres. The lower foot stands on the floor in every frame.
    """
    length = len(pose.yaw)
    joints = np.zeros((length, len(JOINTS), 3))
    up, right, ahead = _body_axes(pose.yaw)
    spine, across, front = _torso_axes(up, right, ahead, pose.lean, pose.sway)

    pelvis = np.zeros((length, 3))
    pelvis[:, [0, 2]] = pose.place
    drop = [
        build.thigh * np.cos(leg[:, 0]) + build.shin * np.cos(leg[:, 0] - leg[:, 1])
        for leg in (pose.left_leg, pose.right_leg)
    ]
    pelvis[:, 1] = np.maximum(*drop) + 0.09

    joints[:, J["spine_base"]] = pelvis
    joints[:, J["spine_mid"]] = pelvis + 0.52 * build.torso * spine
    shoulder_line = pelvis + build.torso * spine
    joints[:, J["spine_shoulder"]] = shoulder_line
    joints[:, J["neck"]] = shoulder_line + 0.6 * build.neck * spine
    skull = spine * np.cos(pose.nod)[:, None] + front * np.sin(pose.nod)[:, None]
    joints[:, J["head"]] = shoulder_line + build.neck * spine + build.head * skull

    arms = (("l", -1.0, pose.left_hand, pose.left_leg), ("r", 1.0, pose.right_hand, pose.right_leg))
    for letter, side, target, leg in arms:
        shoulder = shoulder_line - 0.03 * spine + side * build.shoulders / 2 * across
        reach = build.arm * (side * target[:, :1] * across + target[:, 1:2] * spine + target[:, 2:] * front)
        pole = 0.5 * side * across - spine - 0.35 * front
        elbow, wrist = _bend_arm(shoulder, reach, pole, build)
        along = _unit(wrist - elbow)
        joints[:, J[f"{letter}_shoulder"]] = shoulder
        joints[:, J[f"{letter}_elbow"]] = elbow
        joints[:, J[f"{letter}_wrist"]] = wrist
        joints[:, J[f"{letter}_hand"]] = wrist + build.hand * along
        joints[:, J[f"{letter}_tip"]] = wrist + 2.1 * build.hand * along
        thumb = _unit(0.6 * along + 0.8 * front - 0.3 * side * across)
        joints[:, J[f"{letter}_thumb"]] = wrist + 0.9 * build.hand * thumb

        hip = pelvis - 0.03 * up + side * build.hips / 2 * right
        knee = hip + build.thigh * _swing(up, ahead, leg[:, 0])
        ankle = knee + build.shin * _swing(up, ahead, leg[:, 0] - leg[:, 1])
        joints[:, J[f"{letter}_hip"]] = hip
        joints[:, J[f"{letter}_knee"]] = knee
        joints[:, J[f"{letter}_ankle"]] = ankle
        joints[:, J[f"{letter}_foot"]] = ankle + build.foot * (0.9 * ahead - 0.35 * up + 0.15 * side * right)
    return joints


def _body_axes(yaw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Up, right and ahead of the pelvis, each (T, 3); the frame is mirrored as the recordings are."""
    zero, one = np.zeros_like(yaw), np.ones_like(yaw)
    up = np.stack([zero, one, zero], 1)
    right = np.stack([np.cos(yaw), zero, np.sin(yaw)], 1)
    ahead = np.stack([np.sin(yaw), zero, -np.cos(yaw)], 1)
    return up, right, ahead


def _torso_axes(
    up: np.ndarray, right: np.ndarray, ahead: np.ndarray, lean: np.ndarray, sway: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spine, across and front of the torso, each (T, 3): the pelvis's axes leant forward, then swayed."""
    c, s = np.cos(lean)[:, None], np.sin(lean)[:, None]
    spine, front = up * c + ahead * s, ahead * c - up * s
    c, s = np.cos(sway)[:, None], np.sin(sway)[:, None]
    return spine * c + right * s, right * c - spine * s, front


def _swing(up: np.ndarray, ahead: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return -up * np.cos(angle)[:, None] + ahead * np.sin(angle)[:, None]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _bend_arm(
    shoulder: np.ndarray, reach: np.ndarray, pole: np.ndarray, build: Build
) -> tuple[np.ndarray, np.ndarray]:
    """Elbow and wrist, each (T, 3), of an arm whose wrist goes to shoulder + reach; the elbow bends to `pole`."""
    direction = _unit(reach)
    distance = np.clip(np.linalg.norm(reach, axis=1, keepdims=True), 0.3 * build.arm, 0.985 * build.arm)
    along = (build.upper_arm**2 - build.forearm**2 + distance**2) / (2 * distance)
    aside = np.sqrt(np.maximum(build.upper_arm**2 - along**2, 0))
    outward = _unit(pole - (pole * direction).sum(1, keepdims=True) * direction)
    return shoulder + along * direction + aside * outward, shoulder + distance * direction
