"""The field `skeleton`: joints as stage 2 takes them, ragged in time and bodies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.datasets import Dataset
from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.bodies import Bodies
from mmcl_cache.store import Column, Row


def skeleton_columns(dataset: Dataset) -> tuple[Column, ...]:
    shape = (dataset.layout.num_joints, dataset.channels)
    return (
        Column(
            "joints",
            "float32",
            shape,
            True,
            dataset.unit,
            "frame by frame, in each frame body by body: T·M rows",
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
    return Row(sample_id, "ok", "", pack_joints(dataset.clean(bodies).joints))


def pack_joints(joints: NDArray[np.float32]) -> dict[str, Any]:
    """The columns of a clip, (T, M, V, C); bodies after the last one that is ever there are not stored.

    Raises:
        SampleError: nobody is in any frame.
    """
    there = joints.any(axis=(0, 2, 3))
    if not there.any():
        raise SampleError("no body in any frame")
    count = int(np.flatnonzero(there)[-1]) + 1
    kept = np.ascontiguousarray(joints[:, :count], dtype=np.float32)
    return {"joints": kept.reshape(-1, *kept.shape[2:]), "frames": len(kept), "bodies": count}
