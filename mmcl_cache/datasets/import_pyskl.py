"""pyskl's annotation files (`ntu60_3danno.pkl`, `ntu60_hrnet.pkl`, …), in and out.

A pickle of {"split": {name: ids}, "annotations": [{frame_dir, label, keypoint (M, T, V, C), total_frames,
keypoint_score (M, T, V) beside 2-D keypoints, …}]}. It is read without running a pickle.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.datasets import ntu_ids
from mmcl_cache.datasets.dataset import TEST, TRAIN
from mmcl_cache.datasets.import_clips import ImportedClips, check_ids
from mmcl_cache.errors import SampleError, SourceError
from mmcl_cache.skeletons.bodies import FARTHEST_METRES, LARGEST_PIXEL, check_joints
from mmcl_cache.store.plain_pickle import read_plain_pickle

_MOST_CLASSES = 100_000
_MOST_BODIES = 100
_ENDS = {"_train": TRAIN, "_val": TEST, "_test": TEST}


def read_pyskl_pkl(path: Path) -> ImportedClips:
    """The clips of a pyskl file: 3-D as metres, 2-D as x, y in pixels and a score.

    The splits `xsub_train` and `xsub_val` become the protocol `xsub` with train and test; plain `train` and `val`
    (or `test`) become `split`.

    Raises:
        SourceError: no such file, anything but plain data in it, not this format, an id twice, or a split that names
            ids without an annotation.
    """
    content = read_plain_pickle(path)
    if not isinstance(content, dict) or not {"split", "annotations"} <= content.keys():
        raise SourceError(f"{path}: no pyskl file: expected a dictionary with split and annotations")
    annotations = content["annotations"]
    if (
        not isinstance(annotations, list)
        or not annotations
        or not all(isinstance(a, dict) for a in annotations)
    ):
        raise SourceError(f"{path}: no pyskl file: annotations must be a list of dictionaries")
    for place, annotation in enumerate(annotations):
        missing = [key for key in ("frame_dir", "label", "keypoint") if key not in annotation]
        if missing:
            raise SourceError(f"{path}: annotation {place} lacks {', '.join(missing)}")
        if (
            not isinstance(annotation["frame_dir"], str)
            or type(annotation["label"]) is not int
            or not 0 <= annotation["label"] < _MOST_CLASSES
        ):
            raise SourceError(
                f"{path}: annotation {place}: frame_dir must be text and label a whole number from 0"
            )
    sample_ids = tuple(annotation["frame_dir"] for annotation in annotations)
    check_ids(path, sample_ids)

    labels = np.array([annotation["label"] for annotation in annotations], dtype=np.int32)
    shapes = [a["keypoint"].shape for a in annotations if isinstance(a["keypoint"], np.ndarray)]
    whole = [shape for shape in shapes if len(shape) == 4 and 0 < shape[0] <= _MOST_BODIES]
    if not whole:
        raise SourceError(
            f"{path}: no keypoint is an array (bodies, frames, joints, 2 or 3) of at most {_MOST_BODIES} bodies"
        )

    def read(place: int) -> NDArray[np.float32]:
        clip = read_annotation(annotations[place], Path(f"{path} ({sample_ids[place]})"))
        if clip.shape[2] != whole[0][2]:
            raise SampleError(
                f"{path} ({sample_ids[place]}): {clip.shape[2]} joints, others have {whole[0][2]}"
            )
        return clip

    return ImportedClips(
        source=path,
        sample_ids=sample_ids,
        labels=labels,
        num_classes=_count_classes(labels, sample_ids),
        num_joints=whole[0][2],
        num_bodies=max(1, *(shape[0] for shape in whole)),
        flat=whole[0][3] == 2,
        form="pyskl-pkl",
        splits=_read_splits(content["split"], set(sample_ids), path),
        read=read,
    )


def read_annotation(annotation: Mapping[str, Any], path: Path) -> NDArray[np.float32]:
    """(T, M, V, C) of one annotation, without bodies that are 0 throughout; C = 3.

    Raises:
        SampleError: other shapes, nobody, or absurd values.
    """
    keypoint = annotation["keypoint"]
    if not _is_numeric(keypoint) or keypoint.ndim != 4 or keypoint.shape[3] not in (2, 3):
        shape = getattr(keypoint, "shape", type(keypoint).__name__)
        raise SampleError(f"{path}: keypoint is {shape}, expected numbers (bodies, frames, joints, 2 or 3)")
    if keypoint.shape[0] > _MOST_BODIES:
        raise SampleError(f"{path}: {keypoint.shape[0]} bodies; no recording has so many")
    flat = keypoint.shape[3] == 2
    joints = np.moveaxis(keypoint.astype(np.float32), 0, 1)
    if flat:
        score = annotation.get("keypoint_score")
        if score is None:
            score = np.ones(keypoint.shape[:3], np.float32)
        if not _is_numeric(score) or score.shape != keypoint.shape[:3]:
            raise SampleError(f"{path}: keypoint_score does not belong to keypoint {keypoint.shape}")
        joints = np.concatenate((joints, np.moveaxis(score, 0, 1)[..., None].astype(np.float32)), axis=-1)
    check_joints(joints, path, LARGEST_PIXEL if flat else FARTHEST_METRES)
    present = (joints[..., : 2 if flat else 3] != 0).any(axis=(0, 2, 3))
    if not present.any():
        raise SampleError(f"{path}: nobody in any of its {len(joints)} frames; leave the sample out")
    # An empty slot before a filled one stays: which slot a person is in means something.
    return np.ascontiguousarray(joints[:, : int(np.flatnonzero(present)[-1]) + 1])


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu"


def make_annotation(
    sample_id: str, label: int, clip: NDArray[np.floating], *, flat: bool = False
) -> dict[str, Any]:
    """pyskl's annotation of a clip (T, M, V, 3).

    Args:
        flat: the three values are x, y in pixels and a score.
    """
    keypoint = np.ascontiguousarray(np.moveaxis(np.asarray(clip, dtype=np.float32), 1, 0))
    annotation: dict[str, Any] = {
        "frame_dir": sample_id,
        "label": int(label),
        "total_frames": int(clip.shape[0]),
    }
    if flat:
        annotation["keypoint_score"] = np.ascontiguousarray(keypoint[..., 2])
        keypoint = np.ascontiguousarray(keypoint[..., :2])
    return {**annotation, "keypoint": keypoint}


def write_pyskl_pkl(
    path: Path, annotations: Iterable[Mapping[str, Any]], splits: Mapping[str, Mapping[str, str]]
) -> None:
    """Write what `make_annotation` made, as pyskl reads it; the file is there only when it is whole.

    Args:
        splits: protocol → id → "train" or "test"; they become `<protocol>_train` and `<protocol>_val`.
    """
    names: dict[str, list[str]] = {}
    for protocol, members in splits.items():
        for split, end in ((TRAIN, "train"), (TEST, "val")):
            names[f"{protocol}_{end}"] = [sample_id for sample_id, its in members.items() if its == split]
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        pickle.dump({"split": names, "annotations": [dict(a) for a in annotations]}, stream, protocol=4)
    os.replace(part, path)


def _count_classes(labels: NDArray[np.int32], sample_ids: Sequence[str]) -> int:
    """NTU's 60 or 120 where the ids are NTU's, else as many as the labels need."""
    largest = int(labels.max()) + 1
    if all(ntu_ids.parse_id(sample_id) for sample_id in sample_ids):
        return next((size for size in sorted(ntu_ids.PROTOCOLS) if largest <= size), largest)
    return largest


def _read_splits(value: Any, sample_ids: set[str], path: Path) -> dict[str, dict[str, str]]:
    if not isinstance(value, dict):
        raise SourceError(f"{path}: split must be a dictionary of id lists")
    splits: dict[str, dict[str, str]] = {}
    for name, members in value.items():
        if not isinstance(name, str):
            raise SourceError(f"{path}: the name of a split is no text")
        protocol, split = _split_name(name)
        if split is None:
            raise SourceError(f"{path}: split {name!r}: its name must end in train, val or test")
        listed = members.tolist() if isinstance(members, np.ndarray) else members
        if not isinstance(listed, list | tuple) or not all(isinstance(member, str) for member in listed):
            raise SourceError(f"{path}: split {name!r} must be a list of ids")
        ids = list(listed)
        unknown = [member for member in ids if member not in sample_ids]
        if unknown:
            raise SourceError(
                f"{path}: split {name!r} names {len(unknown)} ids without an annotation, the first {unknown[0]!r}"
            )
        known = splits.setdefault(protocol, {})
        both = [member for member in ids if known.get(member, split) != split]
        if both:
            raise SourceError(f"{path}: {both[0]!r} is in both the train and the test split of {protocol!r}")
        known.update(dict.fromkeys(ids, split))
    return splits


def _split_name(name: str) -> tuple[str, str | None]:
    """(protocol, "train" or "test") of pyskl's name of a split; None where it is neither."""
    for end, split in _ENDS.items():
        if name.endswith(end):
            return name[: -len(end)], split
    return "split", _ENDS.get(f"_{name}")
