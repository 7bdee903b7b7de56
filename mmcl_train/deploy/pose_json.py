"""Poses of estimators as JSON: COCO results (AlphaPose, MMPose), OpenPose's frames, and plain arrays.

    [{"image_id": 12, "keypoints": [x, y, score, …], "idx": 0}, …]    a list of persons, by image
    {"people": [{"pose_keypoints_2d": [x, y, score, …]}]}            a frame of OpenPose; a list or folder of them
    {"poses": [[[x, y(, z or score)], …], …]}                        (T, V, C) or (M, T, V, C)

Without a tracking id (`idx`, `track_id`, `person_id`) person k of a frame is body k.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.skeletons.bodies import LARGEST_PIXEL, Bodies, check_joints
from mmcl_cache.skeletons.json_text import read_json_file
from mmcl_cache.store import UserError

ARRAYS = ("poses", "joints", "skeleton", "skeletons", "keypoint")
_TRACKS = ("idx", "track_id", "person_id")
_DIGITS = "0123456789"
LARGEST_FRAME = 1 << 22
MOST_VALUES = 1 << 23  # of all frames and bodies


def parse_poses(content: Any, path: Path, num_joints: int) -> Bodies:
    """Bodies of a JSON of poses.

    Raises:
        UserError: another form, another number of joints, no frames, or absurd values.
    """
    try:
        if isinstance(content, Mapping) and "people" in content:
            return gather_bodies([_openpose(content, num_joints)], num_joints, path)
        if isinstance(content, Mapping):
            key = next((key for key in ARRAYS if key in content), None)
            if key is None:
                raise ValueError(f"an object without any of people, {', '.join(ARRAYS)}")
            return _from_array(np.array(content[key], dtype=np.float64), num_joints, path)
        if isinstance(content, list) and content and isinstance(content[0], Mapping):
            if "people" in content[0]:
                return gather_bodies([_openpose(frame, num_joints) for frame in content], num_joints, path)
            return gather_bodies(_by_image(content, num_joints), num_joints, path)
        if isinstance(content, list) and content:
            return _from_array(np.array(content, dtype=np.float64), num_joints, path)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: not poses as COCO results, OpenPose or plain arrays ({error})") from None
    raise UserError(f"{path}: no poses in it")


def read_openpose_folder(folder: Path, num_joints: int) -> Bodies:
    """The `*_keypoints.json` files of a folder, one a frame, in the order of their names; raises UserError."""
    files = sorted(folder.glob("*_keypoints.json"))
    if not files:
        raise UserError(f"{folder}: no *_keypoints.json frames in it")
    return parse_poses([read_json_file(file, LARGEST_FRAME) for file in files], folder, num_joints)


def gather_bodies(frames: Iterable[Mapping[Any, NDArray[np.float64]]], num_joints: int, path: Path) -> Bodies:
    """Frames of {body: (V, C)} as one recording; body m is the m-th id in order of first appearance.

    Raises:
        UserError: no body in any frame, joints of another shape, or absurd values.
    """
    listed = list(frames)
    slots: dict[Any, int] = {}
    for frame in listed:
        for body in frame:
            slots.setdefault(body, len(slots))
    if not slots:
        raise UserError(f"{path}: nobody in any of its {len(listed)} frames")
    channels = next(joints.shape[-1] if joints.ndim else 0 for frame in listed for joints in frame.values())
    if len(listed) * len(slots) * num_joints * channels > MOST_VALUES:
        raise UserError(
            f"{path}: {len(listed)} frames of {len(slots)} different bodies, too many for one recording; cut it, or "
            "leave short tracks out"
        )
    joints_TMVC = np.zeros((len(listed), len(slots), num_joints, channels))
    present = np.zeros(joints_TMVC.shape[:2], dtype=bool)
    for t, frame in enumerate(listed):
        for body, joints in frame.items():
            if joints.shape != (num_joints, channels):
                raise UserError(
                    f"{path}: frame {t}: joints of shape {joints.shape}, expected ({num_joints}, {channels})"
                )
            if joints.any():
                joints_TMVC[t, slots[body]] = joints
                present[t, slots[body]] = True
    return _checked(joints_TMVC, present, path)


def _from_array(array: NDArray[np.float64], num_joints: int, path: Path) -> Bodies:
    if array.ndim == 3:
        array = array[None]
    wrong = array.ndim != 4 or array.shape[2] != num_joints or array.shape[3] not in (2, 3)
    if wrong or not 0 < array.size <= MOST_VALUES:
        raise UserError(
            f"{path}: poses of shape {array.shape}, expected (frames, {num_joints}, 2 or 3) or (bodies, frames, "
            f"{num_joints}, 2 or 3)"
        )
    joints_TMVC = array.transpose(1, 0, 2, 3)
    present = np.asarray(~np.isnan(joints_TMVC).all(axis=(2, 3)) & joints_TMVC.any(axis=(2, 3)))
    return _checked(np.where(present[..., None, None], joints_TMVC, 0.0), present, path)


def _checked(joints_TMVC: NDArray[np.float64], present: NDArray[np.bool_], path: Path) -> Bodies:
    if joints_TMVC.shape[-1] == 2:
        joints_TMVC = np.concatenate((joints_TMVC, np.ones_like(joints_TMVC[..., :1])), axis=-1)
        joints_TMVC[~present] = 0
    check_joints(joints_TMVC, path, LARGEST_PIXEL)
    return Bodies(joints_TMVC.astype(np.float32), None, present, None)


def _openpose(frame: Mapping[str, Any], num_joints: int) -> dict[Any, NDArray[np.float64]]:
    people = frame["people"]
    return {n: _triples(person["pose_keypoints_2d"], num_joints) for n, person in enumerate(people)}


def _by_image(rows: list[Mapping[str, Any]], num_joints: int) -> list[dict[Any, NDArray[np.float64]]]:
    """COCO results, by image in the order of their numbers, or of their names."""
    images: dict[Any, dict[Any, NDArray[np.float64]]] = {}
    for row in rows:
        frame = images.setdefault(str(row["image_id"]), {})
        track = next((row[key] for key in _TRACKS if key in row), len(frame))
        frame[str(track)] = _triples(row["keypoints"], num_joints)
    return [images[name] for name in sorted(images, key=_number)]


def _number(name: Any) -> tuple[int, str]:
    digits = "".join(letter for letter in str(name) if letter in _DIGITS)
    return (int(digits[:18]) if digits else -1, str(name))


def _triples(values: Any, num_joints: int) -> NDArray[np.float64]:
    """(V, C) of a flat or nested list of x, y(, score)."""
    array = np.array(values, dtype=np.float64)
    if array.ndim == 1:
        if array.size % num_joints or array.size // num_joints not in (2, 3):
            raise ValueError(
                f"{array.size} values a person, the model's {num_joints} joints need 2 or 3 each"
            )
        array = array.reshape(num_joints, -1)
    if array.ndim != 2 or array.shape[0] != num_joints or array.shape[1] not in (2, 3):
        raise ValueError(
            f"joints of shape {array.shape}, expected ({num_joints}, 2 or 3) for the model's layout"
        )
    return array
