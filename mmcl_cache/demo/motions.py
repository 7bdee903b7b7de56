"""Building blocks of motion programs: envelopes over a clip and limb movements that several actions share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mmcl_cache.demo.figure import Pose

__all__ = ["Style", "blend", "draw_style", "envelope", "move_hand", "smooth", "sway_idly", "walk_in_place"]


@dataclass(frozen=True)
class Style:
    """How one person moves in one clip: amplitude, cycles in a clip, start phase, hand used."""

    amplitude: float  # no unit, about 1
    tempo: float  # no unit, about 1: cycles and speed
    phase: float  # rad, of whatever repeats
    hand: str  # "left" or "right"
    started: bool  # the clip begins when the action is already under way


def draw_style(rng: np.random.Generator, right_handed: bool) -> Style:
    """A style; people use their other hand in one clip of ten."""
    right = right_handed != (rng.random() < 0.1)
    return Style(
        amplitude=float(rng.uniform(0.75, 1.2)),
        tempo=float(rng.uniform(0.75, 1.3)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        hand="right" if right else "left",
        started=bool(rng.random() < 0.3),
    )


def smooth(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, with level ends."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def envelope(rng: np.random.Generator, length: int, style: Style) -> np.ndarray:
    """(T,) 0 → 1 → 0: an action that rises, is held and falls; of some clips we see only the later part."""
    u = np.linspace(0, 1, length)
    start, rise = rng.uniform(0.03, 0.15), rng.uniform(0.18, 0.3) / style.tempo
    if style.started:
        start = -rise
    fall, end = rng.uniform(0.15, 0.25) / style.tempo, rng.uniform(0.85, 1.25)
    return smooth((u - start) / rise) * smooth((end - u) / fall)


def blend(rest: np.ndarray, goal: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """rest and goal (T, C) or (C,), weight (T,): (T, C) between them."""
    return rest + (goal - rest) * weight[:, None]


def move_hand(pose: Pose, hand: str, goal: np.ndarray, weight: np.ndarray) -> Pose:
    """The pose with one hand brought to `goal` ((T, 3) or (3,), arm lengths) as far as `weight` says."""
    if hand == "left":
        return replace(pose, left_hand=blend(pose.left_hand, goal, weight))
    return replace(pose, right_hand=blend(pose.right_hand, goal, weight))


def sway_idly(rng: np.random.Generator, pose: Pose) -> Pose:
    """What a body does anyway: turns a little, shifts, lets its hands drift."""
    length = len(pose.yaw)
    u = np.linspace(0, 2 * np.pi, length)

    def wander(scale: float) -> np.ndarray:
        return scale * np.sin(rng.uniform(0.3, 1.2) * u + rng.uniform(0, 2 * np.pi))

    return replace(
        pose,
        yaw=pose.yaw + rng.normal(0, 0.15) + wander(0.06),
        lean=pose.lean + rng.normal(0.03, 0.03) + wander(0.02),
        sway=pose.sway + rng.normal(0, 0.02) + wander(0.02),
        nod=pose.nod + rng.normal(0.05, 0.08) + wander(0.05),
        place=pose.place + rng.normal(0, 0.08, 2) + np.stack([wander(0.02), wander(0.02)], 1),
        left_hand=pose.left_hand + rng.normal(0, 0.03, 3) + np.stack([wander(0.02) for _ in range(3)], 1),
        right_hand=pose.right_hand + rng.normal(0, 0.03, 3) + np.stack([wander(0.02) for _ in range(3)], 1),
    )


def walk_in_place(pose: Pose, style: Style, swings: tuple[float, float]) -> Pose:
    """Steps across the view; `swings` scale the swing of the left and the right arm."""
    length = len(pose.yaw)
    stride = style.phase + np.linspace(0, 2 * np.pi * 2.2 * style.tempo, length)
    step = 0.42 * style.amplitude * np.sin(stride)
    lift = 0.55 * style.amplitude
    left = np.stack([step, 0.1 + lift * np.maximum(np.cos(stride), 0)], 1)
    right = np.stack([-step, 0.1 + lift * np.maximum(-np.cos(stride), 0)], 1)
    swing = 0.33 * style.amplitude * np.sin(stride)
    left_hand, right_hand = pose.left_hand.copy(), pose.right_hand.copy()
    left_hand[:, 2] -= swings[0] * swing
    right_hand[:, 2] += swings[1] * swing
    way = np.linspace(-0.5, 0.5, length) * style.tempo * 0.9
    ahead = np.stack([np.sin(pose.yaw), -np.cos(pose.yaw)], 1)
    return replace(
        pose,
        left_leg=left,
        right_leg=right,
        left_hand=left_hand,
        right_hand=right_hand,
        place=pose.place + way[:, None] * ahead,
    )
