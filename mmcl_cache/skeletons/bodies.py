"""The one value every skeleton reader gives: the bodies of a clip, on its own time line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.errors import SampleError

FARTHEST_METRES = 100.0
"""No depth camera sees a joint this far away: a larger coordinate is another unit or a damaged file."""
LARGEST_PIXEL = 100_000.0
"""No image is this wide: the limit for poses in pixels, or in a unit that is not known."""


@dataclass(frozen=True)
class Bodies:
    """The bodies of one clip.

    Args:
        joints: (T, M, V, C) float32, metres for C = 3, or x, y in pixels and a score; 0 where a body is absent.
        pixels: (T, M, V, 2) float32 pixels of the image source, NaN where unknown; None where the format has none.
        present: (T, M) bool, body m was seen in frame t.
        fps: frames a second of the skeleton stream, None where unknown.
    """

    joints: NDArray[np.float32]
    pixels: NDArray[np.float32] | None
    present: NDArray[np.bool_]
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.joints.ndim != 4 or self.present.shape != self.joints.shape[:2]:
            raise ValueError(
                f"joints {self.joints.shape} and present {self.present.shape} do not belong together"
            )
        if self.pixels is not None and self.pixels.shape != (*self.joints.shape[:3], 2):
            raise ValueError(
                f"joints {self.joints.shape} and pixels {self.pixels.shape} do not belong together"
            )

    @property
    def num_frames(self) -> int:
        return self.joints.shape[0]

    @property
    def num_bodies(self) -> int:
        return self.joints.shape[1]


def check_joints(
    joints: NDArray[np.floating],
    path: Path,
    farthest: float = FARTHEST_METRES,
    frames: Sequence[int] | None = None,
) -> None:
    """Refuse what cannot be a skeleton.

    Args:
        joints: (T, ...), time first.
        path: named in the message.
        farthest: largest sensible absolute value, in the unit of the joints.
        frames: T frame numbers to name in the message where the rows are not frames 0 to T - 1.

    Raises:
        SampleError: no frames, a value that is not finite, or one beyond `farthest`; the message names the first frame.
    """
    if joints.shape[0] == 0:
        raise SampleError(f"{path}: no frames; get the file again or leave the sample out")
    # NaN compares false, so one pass finds both kinds.
    sane = np.abs(joints) <= farthest
    if sane.all():
        return
    row = int(np.argwhere(~sane)[0, 0])
    value = joints[row][~sane[row]].flat[0]
    what = "is not a finite number" if not np.isfinite(value) else f"lies beyond ±{farthest:g}"
    raise SampleError(
        f"{path}: frame {row if frames is None else frames[row]}: joint value {value:g} {what}; "
        "get the file again or leave the sample out"
    )


def single_body(joints: NDArray[np.floating], path: Path, fps: float | None) -> Bodies:
    """`Bodies` of a format with one body a clip, seen in every frame.

    Args:
        joints: (T, V, C).

    Raises:
        SampleError: see `check_joints`.
    """
    check_joints(joints, path)
    stored = np.ascontiguousarray(joints[:, None], dtype=np.float32)
    return Bodies(stored, None, np.ones(stored.shape[:2], dtype=bool), fps)
