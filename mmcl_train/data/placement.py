"""Columns of a cache as the tensors that a split holds, and where these lie."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmcl_cache.store import Columns, Description, Ragged, UserError
from mmcl_train.data.features import FeatureMatrix

DEVICE_SHARE = 0.5  # of a GPU's free memory that data may take; the rest is for training


def choose_home(num_bytes: int, device: torch.device, placement: str) -> torch.device:
    """Where data of this size lie: the training device, or the host where it does not have the room."""
    if placement == "device" or (placement == "auto" and device.type != "cuda"):
        return device
    if placement == "auto" and num_bytes <= DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return device
    return torch.device("cpu")


def find_usable(description: Description, skeletons: Columns) -> np.ndarray:
    """(N,) bool: status ok and at least one frame of one body.

    Raises:
        UserError: joints of another shape than the description says, or counts that contradict them.
    """
    joints, frames, bodies = skeletons["joints"], skeletons["frames"], skeletons["bodies"]
    expected = (description.layout.num_joints, description.channels)
    if joints.flat.shape[1:] != expected:
        raise UserError(
            f"skeletons have (joints, channels) {joints.flat.shape[1:]}, the description says {expected}; "
            "rebuild the skeleton field"
        )
    contrary = np.flatnonzero(skeletons.valid & (joints.lengths != frames.astype(np.int64) * bodies))
    if len(contrary):
        n = int(contrary[0])
        raise UserError(
            f"sample {skeletons.sample_ids[n]}: {joints.lengths[n]} skeletons stored for {frames[n]} frames of "
            f"{bodies[n]} bodies; rebuild the skeleton field"
        )
    return skeletons.valid & (frames > 0) & (bodies > 0)


def make_tensors(
    labels: np.ndarray,
    skeletons: Columns,
    usable: np.ndarray,
    rgb: FeatureMatrix | None,
    text: FeatureMatrix | None,
) -> dict[str, Tensor]:
    """Everything a split holds, in host memory. Unusable samples hold no joints, so the flat store stays as it is."""
    stored = skeletons["joints"]
    absent = np.zeros(int(usable.sum()), dtype=bool)
    held = {
        "flat": torch.from_numpy(_with_absent_body(stored)),
        "starts": torch.from_numpy(stored.offsets[:-1][usable]),
        "frames": torch.from_numpy(skeletons["frames"][usable].astype(np.int64)),
        "bodies": torch.from_numpy(skeletons["bodies"][usable].astype(np.int64)),
        "labels": torch.from_numpy(labels[usable].astype(np.int64)),
        "rgb_valid": torch.from_numpy(rgb.valid[usable] if rgb else absent),
        "text_valid": torch.from_numpy(text.valid[usable] if text else absent.copy()),
    }
    for name, matrix in (("rgb", rgb), ("text", text)):
        if matrix is not None:
            values = matrix.values if usable.all() else matrix.values[usable]
            held[name] = torch.from_numpy(np.ascontiguousarray(values))
    return held


def _with_absent_body(joints: Ragged) -> np.ndarray:
    """(ΣT·M + 1, V, C) float32 whose last row is zeros, see `Recordings`; nothing is copied where it was loaded so."""
    total = int(joints.offsets[-1])
    is_ready = len(joints.flat) == total + 1 and joints.flat.dtype == np.float32
    if is_ready and not joints.flat[-1].any():
        return joints.flat
    absent = np.zeros((1, *joints.flat.shape[1:]), dtype=np.float32)
    return np.concatenate([joints.flat[:total], absent], dtype=np.float32)
