"""Poses of one's own in `.npy` or `.npz`: (T, V, C) or (M, T, V, C), 3-D, or 2-D with or without a score.

In an `.npz` the poses are the array named keypoint, skeleton, joints or poses, or the only one; `keypoint_score` or
`score` (T, V) or (M, T, V) may stand beside 2-D poses, and `fps`. A body that was not seen is all 0 or all NaN.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.bodies import LARGEST_PIXEL, Bodies, check_joints
from mmcl_cache.store import npy
from mmcl_cache.store.regular import open_regular

POSE_KEYS = ("keypoint", "skeleton", "joints", "poses")
SCORE_KEYS = ("keypoint_score", "score")
_SUFFIX = ".npy"
_MOST_VALUES = 1 << 23
_FASTEST = 10_000.0


def peek_shape(path: Path) -> tuple[int, ...] | None:
    """The shape of the poses in a file, from its header alone; None where the file cannot be read."""
    try:
        if path.suffix == _SUFFIX:
            with open_regular(path) as stream:
                return npy.read_header(stream)[0]
        with (
            npy.open_archive(path) as archive,
            npy.open_member(archive, _pose_key(archive) + _SUFFIX) as member,
        ):
            return npy.read_header(member)[0]
    except (OSError, KeyError, *npy.ARCHIVE_DAMAGE):
        return None


def read_poses(path: Path, *, num_joints: int, dimensions: int) -> Bodies:
    """The bodies of a file; for 2-D poses C = 3 is x, y in pixels and a score, and the pixels are given apart too.

    Args:
        num_joints: V that the layout asks for.
        dimensions: 2 or 3; of poses with C = 3 what they are.

    Raises:
        SampleError: no such file, damaged, another shape, no frames, nobody in any frame, or absurd values.
    """
    arrays = _read_file(path)
    poses = _with_bodies(arrays["poses"], path, num_joints)
    scores = arrays.get("scores")
    if poses.shape[-1] == 2:
        dimensions = 2
        poses = np.concatenate((poses, np.ones_like(poses[..., :1])), axis=-1)
    if scores is not None and dimensions == 2:
        poses = np.array(poses)
        if scores.size != poses[..., 0].size:
            raise SampleError(f"{path}: scores of shape {scores.shape} do not belong to poses {poses.shape}")
        poses[..., 2] = scores.reshape(poses.shape[:3])
    # (M, T, V, C) → (T, M, V, C), as Bodies keep it.
    joints = np.moveaxis(poses, 0, 1).astype(np.float64)
    places = joints[..., :dimensions]
    present = ~((places == 0).all(axis=(2, 3)) | np.isnan(places).all(axis=(2, 3)))
    if not present.any():
        raise SampleError(f"{path}: nobody in any of its {len(joints)} frames; leave the sample out")
    joints = np.where(present[..., None, None], joints, 0.0)
    # 3-D poses of one's own may be in any unit, millimetres too.
    check_joints(joints, path, LARGEST_PIXEL)
    pixels = None
    if dimensions == 2:
        seen = present[..., None] & (joints[..., 2] > 0)
        pixels = np.where(seen[..., None], joints[..., :2], np.nan).astype(np.float32)
    fps = None
    if "fps" in arrays:
        fps = float(arrays["fps"].flat[0]) if arrays["fps"].size == 1 else 0.0
        if not 0 < fps <= _FASTEST:
            raise SampleError(f"{path}: fps is not one number above 0; write the file again")
    return Bodies(joints.astype(np.float32), pixels, present, fps)


def centre_poses(bodies: Bodies, *, centre: int, dimensions: int, num_bodies: int) -> Bodies:
    """The bodies seen longest, without the frames that nobody is in, moved into the origin.

    The origin is the centre joint of the first body in its first frame. 2-D poses are also divided by half the larger
    side of the box of all joints of the clip, so that they no longer depend on the size of the image; joints with
    score 0 become 0.

    Args:
        centre: index of the layout's centre.
        num_bodies: keep so many at most.
    """
    bodies = select_longest(bodies, num_bodies=num_bodies)
    frames = bodies.present.any(axis=1)
    joints, present = bodies.joints[frames], bodies.present[frames]
    pixels = None if bodies.pixels is None else bodies.pixels[frames]
    known = present[..., None] if dimensions == 3 else present[..., None] & (joints[..., 2] > 0)
    known = np.broadcast_to(known, joints.shape[:3])
    places = joints[..., :dimensions]
    if known.any():
        frame, body = np.argwhere(known.any(axis=2))[0]
        seen = known[frame, body]
        # Without the centre joint, the middle of what was seen is the best guess.
        origin = places[frame, body, centre] if seen[centre] else places[frame, body][seen].mean(axis=0)
        scale = 1.0
        if dimensions == 2:
            scale = max(float(np.ptp(places[known], axis=0).max()) / 2, 1.0)
        places = (places - origin) / scale
    moved = joints.copy()
    moved[..., :dimensions] = places
    moved[~known] = 0.0
    return Bodies(moved, pixels, present, bodies.fps)


def select_longest(bodies: Bodies, *, num_bodies: int) -> Bodies:
    """The `num_bodies` bodies seen in most frames, in their order, in every frame of the recording."""
    longest = np.argsort(-bodies.present.sum(axis=0), kind="stable")[:num_bodies]
    longest = np.sort(longest[bodies.present[:, longest].any(axis=0)])
    pixels = None if bodies.pixels is None else bodies.pixels[:, longest]
    return Bodies(bodies.joints[:, longest], pixels, bodies.present[:, longest], bodies.fps)


def _read_file(path: Path) -> dict[str, NDArray[Any]]:
    """`poses`, and `scores` and `fps` where the file has them."""
    try:
        if path.suffix == _SUFFIX:
            with open_regular(path) as stream:
                return {"poses": _numbers(npy.read_array(stream))}
        found = {}
        with npy.open_archive(path) as archive:
            names = _names(archive)
            scores = next((key for key in SCORE_KEYS if key in names), None)
            wanted = (
                ("poses", _pose_key(archive)),
                ("scores", scores),
                ("fps", "fps" if "fps" in names else None),
            )
            for what, key in wanted:
                if key is None:
                    continue
                with npy.open_member(archive, key + _SUFFIX) as member:
                    found[what] = _numbers(npy.read_array(member))
        return found
    except OSError as error:
        raise SampleError(f"{path}: cannot be read: {error.strerror}") from None
    except npy.ARCHIVE_DAMAGE as error:
        raise SampleError(f"{path}: not a readable array file ({error}); write it again") from None
    except KeyError as error:
        raise SampleError(f"{path}: {error.args[0]}") from None


def _numbers(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"holds {array.dtype}, expected numbers")
    if array.size > _MOST_VALUES:
        raise ValueError(f"{array.size:,} numbers, more than any clip has")
    return array


def _names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(_SUFFIX) for name in archive.namelist() if name.endswith(_SUFFIX)]


def _pose_key(archive: zipfile.ZipFile) -> str:
    names = _names(archive)
    for key in POSE_KEYS:
        if key in names:
            return key
    others = [name for name in names if name not in (*SCORE_KEYS, "fps")]
    if len(others) != 1:
        there = ", ".join(sorted(names)) or "nothing"
        raise KeyError(f"has no array named {', '.join(POSE_KEYS)}; it holds {there}")
    return others[0]


def _with_bodies(poses: NDArray[Any], path: Path, num_joints: int) -> NDArray[Any]:
    """(M, T, V, C) of either shape."""
    if poses.ndim == 3:
        poses = poses[None]
    if poses.ndim != 4 or poses.shape[2] != num_joints or poses.shape[3] not in (2, 3):
        raise SampleError(
            f"{path}: poses of shape {poses.shape}, expected (frames, {num_joints}, 2 or 3) or "
            f"(bodies, frames, {num_joints}, 2 or 3); if the joints differ, name the layout with --layout"
        )
    if poses.shape[0] == 0 or poses.shape[1] == 0:
        raise SampleError(f"{path}: no frames; leave the sample out")
    return poses
