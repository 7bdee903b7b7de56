"""The JSON skeletons of Northwestern-UCLA, as CTR-GCN's authors hand them out: file_name, skeletons, label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.bodies import Bodies, single_body
from mmcl_cache.skeletons.json_text import read_json_file

NUM_JOINTS = 20
LARGEST_BYTES = 1 << 24
LABELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 8: 7, 9: 8, 11: 9, 12: 10}
"""Action in the file's name → label in the file; actions 7 and 10 were never given out."""


def read_nw_ucla(path: Path) -> Bodies:
    """The one body of a sequence, (T, 1, 20, 3) metres.

    Raises:
        SampleError: no JSON, another shape, no frames, absurd values, or a name or label that is not that of the file.
    """
    content = read_json_file(path, LARGEST_BYTES)
    if not isinstance(content, dict) or not {"file_name", "skeletons", "label"} <= content.keys():
        raise SampleError(f"{path}: lacks the keys file_name, skeletons and label; get the file again")
    try:
        joints = np.array(content["skeletons"], dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise SampleError(
            f"{path}: its skeletons are not numbers in equal rows; get the file again"
        ) from None
    if joints.size == 0:
        raise SampleError(f"{path}: no frames; leave the sample out")
    if joints.ndim != 3 or joints.shape[1:] != (NUM_JOINTS, 3):
        raise SampleError(f"{path}: skeletons of shape {joints.shape}, expected (frames, {NUM_JOINTS}, 3)")
    if content["file_name"] != path.stem:
        raise SampleError(f"{path}: says it is {_show(content['file_name'])}; files were renamed or mixed up")
    expected = LABELS.get(int(path.stem[1:3])) if path.stem[1:3].isdecimal() else None
    if content["label"] != expected:
        raise SampleError(
            f"{path}: says label {_show(content['label'])}, its name says {expected}; files were mixed up"
        )
    return single_body(joints, path, None)


def _show(value: Any) -> str:
    return repr(value)[:60] if isinstance(value, str | float) or type(value) is int else type(value).__name__
