"""Where the people are: boxes from the skeleton's colour pixels, and the skeleton frame of each video frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SCOPES = ("clip", "frame")


class Box(NamedTuple):
    """Pixels [left, right) × [top, bottom)."""

    left: int
    top: int
    right: int
    bottom: int


def align_indices(
    video_indices: Sequence[int] | np.ndarray,
    num_video_frames: int,
    video_fps: float | None,
    num_skeleton_frames: int,
    skeleton_fps: float | None,
) -> np.ndarray:
    """The skeleton frame shown at each of some video frames.

    Equal counts are frame-aligned streams: the same index. Otherwise, where both rates are known and the
    two streams then last about as long (within a quarter), frames of the same time; else frames at the same
    share of the whole. Middles of frames are compared: (i + ½) · ratio, cut to whole numbers.

    Args:
        video_indices: (K,) whole numbers in [0, num_video_frames).
        video_fps, skeleton_fps: frames a second, None where unknown.

    Returns:
        (K,) int64 in [0, num_skeleton_frames).

    Raises:
        ValueError: a count < 1.
    """
    if num_video_frames < 1 or num_skeleton_frames < 1:
        raise ValueError(f"both streams need frames, got {num_video_frames} and {num_skeleton_frames}")
    indices = np.asarray(video_indices, dtype=np.int64)
    if num_video_frames == num_skeleton_frames:
        return indices.copy()
    ratio = num_skeleton_frames / num_video_frames
    if video_fps and skeleton_fps and video_fps > 0 and skeleton_fps > 0:
        by_time = skeleton_fps / video_fps
        if 0.8 <= by_time / ratio <= 1.25:
            ratio = by_time
    return np.clip(((indices + 0.5) * ratio).astype(np.int64), 0, num_skeleton_frames - 1)


def person_boxes(
    pixels_TMV2: np.ndarray | None,
    indices: Sequence[int] | np.ndarray,
    size_WH: tuple[int, int],
    slack: float,
    scope: str = "clip",
) -> list[Box] | None:
    """One box an index around every joint of every body.

    Args:
        pixels_TMV2: (T, M, V, 2) float colour pixels (x, y); NaN, infinite or exactly (0, 0) where a joint has none.
        indices: (K,) skeleton frames, in [0, T).
        size_WH: the image, pixels; boxes are clamped to it.
        slack: ≥ 0; the box grows by this share of its own size on each side.
        scope: ``clip``: one box around all joints of all T frames, for every index (the person keeps its
            scale); ``frame``: each index its own joints, the clip's box where that frame has none.

    Returns:
        K boxes of at least 1 × 1 pixel, or None where no usable pixel lies in the image (take the whole frame).

    Raises:
        ValueError: unknown scope, negative slack, or an image without area.
    """
    if scope not in SCOPES:
        raise ValueError(f"unknown crop scope {scope!r}; known: {', '.join(SCOPES)}")
    if slack < 0 or min(size_WH) < 1:
        raise ValueError(f"slack must be ≥ 0 and the image must have area, got {slack} and {size_WH}")
    if pixels_TMV2 is None or pixels_TMV2.size == 0:
        return None
    whole = _bound_points(pixels_TMV2, size_WH, slack)
    if whole is None:
        return None
    if scope == "clip":
        return [whole] * len(indices)
    return [_bound_points(pixels_TMV2[int(i)], size_WH, slack) or whole for i in indices]


def _bound_points(pixels: np.ndarray, size_WH: tuple[int, int], slack: float) -> Box | None:
    """The clamped box around the usable points of (…, 2) pixels, or None where there is none.

    Points outside the image are clamped to its edge only when some other point lies inside: sensors put
    joints a little past the border, but a body wholly outside gives no picture of it.
    """
    width, height = size_WH
    points = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1) & (points != 0).any(axis=1)]
    inside = (points >= 0).all(axis=1) & (points[:, 0] < width) & (points[:, 1] < height)
    if not inside.any():
        return None
    points = np.clip(points, 0, (width, height))
    low, high = points.min(axis=0), points.max(axis=0)
    margin = slack * (high - low)
    left, top = np.clip(np.floor(low - margin), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(high + margin), (left + 1, top + 1), (width, height)).astype(int)
    return Box(int(left), int(top), int(right), int(bottom))


def spread_boxes(
    found: Sequence[Box | None], size_WH: tuple[int, int], slack: float, scope: str
) -> list[Box] | None:
    """Boxes for every tile from those a detector found in some.

    Args:
        found: K boxes, None where nobody was found.
        slack, scope: as for `person_boxes`; a tile without a box takes that of the whole clip.

    Returns:
        K boxes, or None where nobody was found in any tile.
    """
    corners = [corner for box in found if box is not None for corner in (box[:2], box[2:])]
    whole = _bound_points(np.asarray(corners, dtype=np.float64), size_WH, slack) if corners else None
    if whole is None:
        return None
    if scope == "clip":
        return [whole] * len(found)
    one = [
        None if b is None else _bound_points(np.asarray([b[:2], b[2:]], np.float64), size_WH, slack)
        for b in found
    ]
    return [box or whole for box in one]
