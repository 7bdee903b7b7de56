"""Which frames of a video become tiles. Index arithmetic only: no video is opened here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def choose_published(num_frames: int, tiles: int) -> np.ndarray:
    """Frames 0, s, 2s … with s = num_frames // tiles.

    The last fifth of a clip is therefore never shown when five tiles are taken.
    Source: MMCL-Action#3 (frames at equal intervals).
    """
    return np.arange(tiles, dtype=np.int64) * (num_frames // tiles)


def choose_centre(num_frames: int, tiles: int) -> np.ndarray:
    """The middle frame of each of ``tiles`` equal parts: floor((2k + 1) · num_frames / (2 · tiles))."""
    return (2 * np.arange(tiles, dtype=np.int64) + 1) * num_frames // (2 * tiles)


SAMPLINGS: dict[str, Callable[[int, int], np.ndarray]] = {
    "published": choose_published,
    "centre": choose_centre,
}


def choose_frames(num_frames: int, tiles: int, sampling: str = "published") -> np.ndarray:
    """Choose the frames of a strip.

    A video with fewer frames than tiles shows every frame, each repeated as evenly as possible and
    still in time order: tile k shows frame floor(k · num_frames / tiles), so one frame fills all tiles.

    Args:
        num_frames: frames of the video, ≥ 1.
        tiles: tiles of the strip, K ≥ 1.
        sampling: ``published`` or ``centre``.

    Returns:
        (K,) int64, in [0, num_frames), never decreasing.

    Raises:
        ValueError: num_frames or tiles < 1, or an unknown sampling.
    """
    if num_frames < 1 or tiles < 1:
        raise ValueError(f"num_frames and tiles must be at least 1, got {num_frames} and {tiles}")
    if sampling not in SAMPLINGS:
        raise ValueError(f"unknown sampling {sampling!r}; known: {', '.join(SAMPLINGS)}")
    if num_frames < tiles:
        return np.arange(tiles, dtype=np.int64) * num_frames // tiles
    return SAMPLINGS[sampling](num_frames, tiles)
