"""The field `skeleton`: joints as stage 2 takes them, ragged in time and bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmcl_cache.datasets import Dataset
from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.bodies import Bodies
from mmcl_cache.store import Column, Row


def skeleton_columns(dataset: Dataset) -> tuple[Column, ...]:
    shape = (dataset.layout.num_joints, dataset.channels)
    unit = "m" if dataset.channels == 3 and not dataset.settings.get("pixels_2d") else "px"
    return (
        Column(
            "joints", "float32", shape, True, unit, "frame by frame, in each frame body by body: T·M rows"
        ),
        Column("frames", "int32", (), False, "", "T"),
        Column("bodies", "int32", (), False, "", "M that are stored; absent bodies are not"),
    )


def skeleton_settings(dataset: Dataset) -> dict[str, Any]:
    return {"dataset": dataset.name, "layout": dataset.layout.to_json(), **dataset.settings}


def make_skeleton_row(sample_id: str, dataset: Dataset, bodies: Bodies) -> Row:
    """The row of one sample.

    Raises:
        SampleError: nothing is left after cleaning.
    """
    return Row(sample_id, "ok", "", _pack(dataset.clean(bodies)))


def _pack(bodies: Bodies) -> Mapping[str, Any]:
    there = bodies.joints.any(axis=(0, 2, 3))
    if not there.any():
        raise SampleError("no body in any frame")
    count = int(np.flatnonzero(there)[-1]) + 1
    joints = np.ascontiguousarray(bodies.joints[:, :count], dtype=np.float32)
    frames, _, joint_count, channels = joints.shape
    return {"joints": joints.reshape(-1, joint_count, channels), "frames": frames, "bodies": count}
