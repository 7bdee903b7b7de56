"""Skeletons in MATLAB files: UTD-MHAD's `d_skel` and SYSU's `SW`, both (20, 3, T) metres of one body."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.bodies import Bodies, single_body
from mmcl_cache.skeletons.mat_elements import is_version_5, pick_matrix
from mmcl_cache.store.regular import read_regular

FPS = 30.0
NUM_JOINTS = 20
LARGEST_SKELETON = 1 << 24
# scipy does not say what it raises on a damaged file; these are what cut and overwritten files gave.
_DAMAGE = (
    zlib.error,
    MatReadError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    struct.error,
)


def read_mat(path: Path, variable: str, largest: int = LARGEST_SKELETON) -> NDArray[Any]:
    """One numeric array of a MATLAB file; other variables are not decoded.

    Args:
        largest: bytes that the file may have, and the array when it is decompressed.

    Raises:
        SampleError: no such file, damaged, no such variable, or one that is no array of real numbers.
    """
    try:
        data = read_regular(path, largest)
        picked = pick_matrix(data, variable, largest) if is_version_5(data) else data
        found = loadmat(io.BytesIO(picked), variable_names=[variable]) if picked else {}
    except OSError as error:
        raise SampleError(f"{path}: cannot be read ({error.strerror or error}); get the file again") from None
    except _DAMAGE as error:
        raise SampleError(f"{path}: not a readable MATLAB file ({error}); get the file again") from None
    value = found.get(variable)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise SampleError(f"{path}: holds no numbers named {variable}; get the file again")
    return value


def read_kinect_mat(path: Path, variable: str) -> Bodies:
    """The one body of a (20, 3, T) variable, (T, 1, 20, 3) metres, 30 frames a second.

    Raises:
        SampleError: see `read_mat`; another shape, no frames, or absurd values.
    """
    joints = read_mat(path, variable)
    # MATLAB drops a last axis of length 1.
    if joints.ndim == 2:
        joints = joints[..., None]
    if joints.size == 0:
        raise SampleError(f"{path}: no frames; leave the sample out")
    if joints.ndim != 3 or joints.shape[:2] != (NUM_JOINTS, 3):
        raise SampleError(f"{path}: {variable} of shape {joints.shape}, expected ({NUM_JOINTS}, 3, frames)")
    return single_body(np.moveaxis(joints.astype(np.float64), 2, 0), path, FPS)
