"""What a depth sensor makes of true joints: noise, guesses, lost frames, and now and then a body that is not there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmcl_cache.demo.figure import JOINTS

__all__ = ["Reading", "sense"]

# Standard deviations in metres: per frame (white), slow drift, and a constant offset of the clip.
WHITE, DRIFT, OFFSET = 0.008, 0.016, 0.012
LOOSE = {name: 2.0 for name in JOINTS if name[2:] in ("hand", "tip", "thumb")} | {
    name: 1.6 for name in JOINTS if name[2:] in ("wrist", "ankle", "foot")
}
DRIFT_FRAMES = 12.0  # correlation length of the drift


@dataclass(frozen=True)
class Reading:
    """Bodies as recorded, camera frame.

    joints (T, M, 25, 3) metres; present (T, M) bool; tracked (T, M, 25), 2 seen and 1 guessed.
    """

    joints: np.ndarray
    present: np.ndarray
    tracked: np.ndarray


def sense(rng: np.random.Generator, seen: np.ndarray) -> Reading:
    """Record the true joints `seen` ((T, M, 25, 3), camera frame, metres)."""
    length, people = seen.shape[:2]
    scale = np.array([LOOSE.get(name, 1.0) for name in JOINTS])[:, None] * rng.uniform(0.75, 1.35)
    noise = rng.normal(0, 1, seen.shape) * WHITE + _drift(rng, seen.shape) * DRIFT
    noise += rng.normal(0, 1, (1, *seen.shape[1:])) * OFFSET
    joints = seen + noise * scale
    tracked = np.full((length, people, len(JOINTS)), 2)
    for person in range(people):
        _guess_hands(rng, joints[:, person], tracked[:, person])
    present = np.ones((length, people), bool)
    if rng.random() < 0.3:  # the sensor loses everybody for a moment
        start = int(rng.integers(3, length - 8))
        present[start : start + int(rng.integers(1, 5))] = False
    if people == 1 and rng.random() < 0.05:
        joints, present, tracked = _add_ghost(rng, joints, present, tracked)
    return Reading(joints, present, tracked)


def _drift(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Unit-variance noise that forgets itself after DRIFT_FRAMES frames, along axis 0."""
    keep = np.exp(-1 / DRIFT_FRAMES)
    steps = rng.normal(0, 1, shape)
    steps[1:] *= np.sqrt(1 - keep**2)
    for t in range(1, shape[0]):
        steps[t] += keep * steps[t - 1]
    return steps


def _guess_hands(rng: np.random.Generator, joints: np.ndarray, tracked: np.ndarray) -> None:
    """For some spans the sensor cannot see a hand and puts it somewhere; joints (T, 25, 3) change in place."""
    for letter in "lr":
        for _ in range(int(rng.poisson(0.7))):
            start = int(rng.integers(0, len(joints)))
            span = slice(start, start + int(rng.integers(2, 9)))
            names = [JOINTS.index(f"{letter}_{part}") for part in ("wrist", "hand", "tip", "thumb")]
            joints[span, names] += rng.normal(0, 0.09, (1, 3))
            tracked[span, names] = 1


def _add_ghost(
    rng: np.random.Generator, joints: np.ndarray, present: np.ndarray, tracked: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A second body for a few frames, crouched where the first one is: furniture taken for a person."""
    ghost = joints.copy()
    base = ghost[:, :, :1].mean(axis=0, keepdims=True)
    ghost = base + 0.35 * (ghost - base) + rng.normal(0, 0.02, ghost.shape)
    seen = np.zeros_like(present)
    start = int(rng.integers(0, len(joints) - 10))
    seen[start : start + int(rng.integers(3, 9))] = True
    return (
        np.concatenate([joints, ghost], 1),
        np.concatenate([present, seen], 1),
        np.concatenate([tracked, np.full_like(tracked, 1)], 1),
    )
