"""The JSON skeletons of Northwestern-UCLA, as CTR-GCN's authors hand them out: file_name, skeletons, label."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.bodies import Bodies, single_body

NUM_JOINTS = 20
LABELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 8: 7, 9: 8, 11: 9, 12: 10}
"""Action in the file's name → label in the file; actions 7 and 10 were never given out."""


def read_nw_ucla(path: Path) -> Bodies:
    """The one body of a sequence, (T, 1, 20, 3) metres.

    Raises:
        SampleError: no JSON, another shape, no frames, absurd values, or a name or label that is not that of the file.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise SampleError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SampleError(f"{path}: not JSON, or cut short ({error}); get the file again") from None
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
        raise SampleError(f"{path}: says it is {content['file_name']!r}; files were renamed or mixed up")
    expected = LABELS.get(int(path.stem[1:3])) if path.stem[1:3].isdigit() else None
    if content["label"] != expected:
        raise SampleError(
            f"{path}: says label {content['label']!r}, its name says {expected}; files were mixed up"
        )
    return single_body(joints, path, None)
