"""Objects in the hand: which there are, how large, and where one is while it is held, thrown or lies on the floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmcl_cache.demo.figure import JOINTS

__all__ = ["KINDS", "Grip", "Held", "Track", "track_object"]

# kind -> width and height in metres, as drawn: larger than life, so that they survive a 96-pixel tile.
KINDS: dict[str, tuple[float, float]] = {
    "bottle": (0.15, 0.42),
    "phone": (0.18, 0.28),
    "book": (0.46, 0.34),
    "ball": (0.32, 0.32),
    "bag": (0.42, 0.44),
}
HAND = {"left": JOINTS.index("l_hand"), "right": JOINTS.index("r_hand")}
HEAD = JOINTS.index("head")
GRAVITY = 9.8  # m/s²


@dataclass(frozen=True)
class Grip:
    """From frame `start` to `stop` (exclusive) `person` holds the object in `hands`: left, right or both."""

    start: int
    stop: int
    person: int
    hands: str


@dataclass(frozen=True)
class Held:
    """One object through a clip. Before its first grip it lies on the floor, after its last it flies."""

    kind: str
    grips: tuple[Grip, ...]


@dataclass(frozen=True)
class Track:
    """Where an object is: centre and axis (its own upward direction), both (T, 3) in the world frame, metres."""

    kind: str
    centre: np.ndarray
    axis: np.ndarray
    in_hand: np.ndarray  # (T,) bool


def track_object(held: Held, bodies: list[np.ndarray], fps: float) -> Track:
    """The object's track; bodies: one (T, 25, 3) array of joints a person, metres."""
    length = len(bodies[0])
    centre, axis = np.zeros((length, 3)), np.tile([0.0, 1.0, 0.0], (length, 1))
    in_hand = np.zeros(length, bool)
    for grip in held.grips:
        when = slice(grip.start, grip.stop)
        centre[when], axis[when] = _grasp(held.kind, bodies[grip.person][when], grip.hands)
        in_hand[when] = True
    first, last = held.grips[0].start, held.grips[-1].stop
    if 0 < first < length:
        centre[:first] = centre[first]
        centre[:first, 1] = KINDS[held.kind][1] / 2
    if last < length:
        before = max(last - 3, 0)
        speed = (centre[last - 1] - centre[before]) / max(last - 1 - before, 1) * fps
        speed = 0.6 * speed + np.array([0.0, 0.8, 0.0])
        elapsed = (np.arange(last, length) - last + 1)[:, None] / fps
        centre[last:] = centre[last - 1] + speed * elapsed - np.array([0, GRAVITY / 2, 0]) * elapsed**2
        centre[last:, 1] = np.maximum(centre[last:, 1], KINDS[held.kind][1] / 2)
    return Track(held.kind, centre, axis, in_hand)


def _grasp(kind: str, joints: np.ndarray, hands: str) -> tuple[np.ndarray, np.ndarray]:
    """Centre and axis, each (T, 3), of an object in the given hands."""
    up = np.tile([0.0, 1.0, 0.0], (len(joints), 1))
    if hands == "both":
        middle = (joints[:, HAND["left"]] + joints[:, HAND["right"]]) / 2
        lift = {"book": 0.07, "phone": 0.06}.get(kind, 0.0)
        return middle + lift * up, up
    hand = joints[:, HAND[hands]]
    if kind == "bag":
        return hand - (KINDS["bag"][1] / 2 + 0.08) * up, up
    to_head = joints[:, HEAD] - hand
    distance = np.linalg.norm(to_head, axis=1, keepdims=True)
    near = np.clip((0.5 - distance) / 0.25, 0, 1)
    # A bottle tips towards the mouth, a phone lies along the cheek.
    tilt = up + (1.2 if kind == "bottle" else 0.3) * near * to_head / np.maximum(distance, 1e-6)
    axis = tilt / np.linalg.norm(tilt, axis=1, keepdims=True)
    return hand + {"ball": 0.10, "bottle": 0.04, "phone": 0.05, "book": 0.05}[kind] * axis, axis
