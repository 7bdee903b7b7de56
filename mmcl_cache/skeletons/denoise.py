"""Which of the recorded bodies are people, and which person comes first: the denoising of the CTR-GCN family.

Source: CTR-GCN (ICCV 2021), NTU preparation; the thresholds are its own. Golden values: ntu_skeletons.npz.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.bodies import Bodies

SHORTEST = 11
"""A body seen in this many frames or fewer is noise."""
WIDEST = 0.8
"""A frame is noisy for a body that is wider than this share of its height."""
NOISIEST = 0.69754
"""A body with this share of noisy frames, or more, is noise."""
ORIGIN = 1
"""Spine middle: the joint that is put into the origin (0-based)."""

SETTINGS = {
    "denoise": "ctrgcn",
    "shortest": SHORTEST,
    "widest": WIDEST,
    "noisiest": NOISIEST,
    "origin": ORIGIN,
}
"""What of this file changes bytes."""


@dataclass(eq=False)
class _Track:
    """One recorded body: where it was seen, what it did there, and how much it moved."""

    body: int
    frames: NDArray[np.intp]
    joints: NDArray[np.float32]
    motion: float


def denoise_ntu(bodies: Bodies) -> Bodies:
    """People only, most motion first, without empty frames, centred.

    Frames in which nobody is left are removed, so the result no longer runs along the video (`select_people` does).
    Everything is moved by the spine middle of body 1 in the first frame; a body's missing frames stay 0.

    Args:
        bodies: as recorded, (T, M, 25, 3) metres.

    Returns:
        (T', 1 or 2, 25, 3), pixels moved along where there are any.

    Raises:
        SampleError: no body at all.
    """
    people = select_people(bodies)
    # "Empty" is told from the values, as published: a body at exactly 0 counts as absent.
    kept = (people.joints != 0).any(axis=(1, 2, 3))
    if not kept.any():
        raise SampleError("no body is left in any frame; leave the sample out")
    joints = people.joints[kept]
    first = int((joints[:, 0] != 0).any(axis=(1, 2)).argmax())
    # A body is missing where its coordinates sum to 0, as published.
    missing = joints.sum(axis=(2, 3)) == 0
    centred = joints - joints[first, 0, ORIGIN]
    centred[missing] = 0.0
    pixels = None if people.pixels is None else people.pixels[kept]
    return Bodies(centred, pixels, people.present[kept] & ~missing, people.fps)


def select_people(bodies: Bodies) -> Bodies:
    """The one or two people of a clip in every frame of the recording.

    Same choice and order as `denoise_ntu`, but frames stay where they are and nothing is moved: made for cutting the
    people out of the video by their pixels.

    Args:
        bodies: as recorded, (T, M, V, 3) metres, any M.

    Returns:
        (T, 1 or 2, V, 3); slots are 0 (pixels NaN) where their person is absent.

    Raises:
        SampleError: no body at all.
    """
    seen: NDArray[np.bool_] = np.asarray(bodies.present.any(axis=0))
    if not seen.any():
        raise SampleError("no body in any frame; leave the sample out")
    if seen.sum() == 1:
        return _take(bodies, [[(int(seen.argmax()), np.flatnonzero(bodies.present[:, seen.argmax()]))]])
    tracks = _drop_sprawling(_drop_short(_tracks(bodies, seen)))
    if len(tracks) == 1:
        return _take(bodies, [[(tracks[0].body, tracks[0].frames)]])
    # A stable sort, so that equal motion keeps the order of appearance.
    tracks.sort(key=lambda track: -track.motion)
    return _take(bodies, _slots(bodies, tracks))


def centre_on_first(bodies: Bodies, joint: int) -> Bodies:
    """Everything moved so that `joint` of body 1 lies in the origin in frame 0; absent bodies stay 0."""
    moved = bodies.joints - bodies.joints[0, 0, joint]
    moved[~bodies.present] = 0.0
    return replace(bodies, joints=moved)


def _tracks(bodies: Bodies, seen: NDArray[np.bool_]) -> list[_Track]:
    tracks = []
    for body in np.flatnonzero(seen):
        frames = np.flatnonzero(bodies.present[:, body])
        joints = bodies.joints[frames, body]
        tracks.append(_Track(int(body), frames, joints, _motion(joints)))
    return tracks


def _motion(joints: NDArray[np.float32]) -> float:
    """Sum over the axes of the variance over all joints and frames, m²."""
    return float(np.var(joints.reshape(-1, 3), axis=0).sum())


def _drop_short(tracks: list[_Track]) -> list[_Track]:
    kept = list(tracks)
    for track in tracks:
        if len(kept) > 1 and len(track.frames) <= SHORTEST:
            kept.remove(track)
    return kept


def _drop_sprawling(tracks: list[_Track]) -> list[_Track]:
    kept = list(tracks)
    for track in tracks:
        if len(kept) == 1:
            break
        spread = np.ptp(track.joints[..., :2], axis=1)
        noisy = spread[:, 0] > WIDEST * spread[:, 1]
        if not noisy.any():
            continue
        if noisy.mean() >= NOISIEST:
            kept.remove(track)
        else:
            track.motion = min(track.motion, _motion(track.joints[~noisy]))
    return kept


def _slots(bodies: Bodies, tracks: list[_Track]) -> list[list[tuple[int, NDArray[np.intp]]]]:
    """Which tracks share slot 1 and which slot 2, in the order in which they are laid down."""
    # The published intervals count only frames in which there is somebody.
    number = np.cumsum(bodies.present.any(axis=1)) - 1
    slots: list[list[tuple[int, NDArray[np.intp]]]] = [[], []]
    spans: list[tuple[int, int]] = []
    for track in tracks:
        start, end = int(number[track.frames[0]]), int(number[track.frames[-1]])
        if not spans:
            # Slot 2's interval begins as [0, 0]: published, so a later body that starts in frame 0 may still enter.
            spans = [(start, end), (0, 0)]
            slots[0].append((track.body, track.frames))
            continue
        for slot, (first, last) in enumerate(spans):
            if min(last, end) - max(first, start) <= 0:
                slots[slot].append((track.body, track.frames))
                spans[slot] = (min(first, start), max(last, end))
                break
    return slots


def _take(bodies: Bodies, slots: list[list[tuple[int, NDArray[np.intp]]]]) -> Bodies:
    filled = [slot for slot in slots if slot]
    shape = (bodies.num_frames, len(filled))
    joints = np.zeros((*shape, *bodies.joints.shape[2:]), dtype=np.float32)
    pixels = (
        None if bodies.pixels is None else np.full((*shape, *bodies.pixels.shape[2:]), np.nan, np.float32)
    )
    present = np.zeros(shape, dtype=bool)
    for slot, pieces in enumerate(filled):
        for body, frames in pieces:
            joints[frames, slot] = bodies.joints[frames, body]
            present[frames, slot] = True
            if pixels is not None and bodies.pixels is not None:
                pixels[frames, slot] = bodies.pixels[frames, body]
    return Bodies(joints, pixels, present, bodies.fps)
