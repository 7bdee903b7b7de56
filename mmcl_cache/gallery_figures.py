"""What a gallery shows of one sample: a small picture of its strip, and its skeleton as a few poses."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mmcl_cache.store import Columns, Layout

# Tiles of 1:3 look like people again; the strip itself is square, each tile 1:5.
THUMBNAIL = (300, 180)
THUMBNAIL_QUALITY = 72
MAX_PIXELS = 4096 * 4096  # of a strip
POSES = 25  # of the moving figure; five of them, evenly spaced, are drawn under the strip
LEVELS = 254  # steps of a coordinate; 255 says that a body is absent in that pose
ABSENT = 255
_HEADS = ("head", "nose", "neck", "shoulder_centre", "spine_shoulder")
_FEET = ("left_foot", "right_foot", "left_ankle", "right_ankle", "left_foot_index", "right_foot_index")


@dataclass(frozen=True)
class View:
    """Which coordinates go across and up the page, and with which sign."""

    across: int
    up: int
    sign: float


def make_thumbnail(jpeg: bytes) -> str | None:
    """Base64 of a small JPEG of a strip; None where it cannot be decoded."""
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            small = image.convert("RGB").resize(THUMBNAIL, Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    file = io.BytesIO()
    small.save(file, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def thumbnail_of(part: Columns, row: int) -> str | None:
    """The same of one row of a shard of the field `strip`."""
    return make_thumbnail(part["jpeg"][row].tobytes())


def poses_of(part: Columns, row: int) -> np.ndarray:
    """(P, M, V, C) float32, P ≤ `POSES` frames evenly spaced over the clip, of a row of the field `skeleton`."""
    joints = part["joints"][row]
    bodies = max(int(part["bodies"][row]), 1) if "bodies" in part.values else 1
    frames = len(joints) // bodies
    clip = joints[: frames * bodies].reshape(frames, bodies, *joints.shape[1:])
    return clip[np.linspace(0, frames - 1, min(frames, POSES)).round().astype(int)] if frames else clip


def choose_view(clips: Sequence[np.ndarray], layout: Layout) -> View:
    """How to look at the skeletons of a data set, whose axes differ: up is from the feet to the head.

    Across is the one of the first two coordinates that is left, or in which joints differ most within a pose: the
    third is depth, or the score of a 2-D pose.
    """
    head = [layout.joints.index(name) for name in _HEADS if name in layout.joints][:1]
    feet = [layout.joints.index(name) for name in _FEET if name in layout.joints][:2]
    poses = [pose for clip in clips for pose in clip.reshape(-1, *clip.shape[2:]) if pose.any()]
    if not poses or not head or not feet:
        return View(0, 1, 1.0)
    stacked = np.stack(poses)  # (n, V, C)
    rise = np.median(stacked[:, head].mean(1) - stacked[:, feet].mean(1), axis=0)
    up = int(np.abs(rise).argmax())
    width = np.median(stacked.std(axis=1), axis=0)
    width[up] = -1
    return View(int(width[:2].argmax()), up, float(np.sign(rise[up]) or 1))


def pack_poses(clip: np.ndarray, view: View) -> dict[str, Any] | None:
    """A clip as bytes for the page: {"p": poses, "m": bodies, "w": width / height, "d": base64 of (P, M, V, 2) uint8}.

    x runs to the right and y down, both from 0 to `LEVELS` over the box that the whole clip fills.
    """
    if not clip.size:
        return None
    flat = np.stack([clip[..., view.across], -view.sign * clip[..., view.up]], axis=-1)
    present = clip.any(axis=(2, 3))  # (P, M)
    if not present.any() or not np.isfinite(clip).all():
        return None
    low, high = flat[present].min(axis=(0, 1)), flat[present].max(axis=(0, 1))
    size = np.maximum(high - low, 1e-6)
    scaled = np.clip(np.round((flat - low) / size * LEVELS), 0, LEVELS).astype(np.uint8)
    scaled[~present] = ABSENT
    return {
        "p": clip.shape[0],
        "m": clip.shape[1],
        "w": round(float(size[0] / size[1]), 4),
        "d": base64.b64encode(scaled.tobytes()).decode("ascii"),
    }
