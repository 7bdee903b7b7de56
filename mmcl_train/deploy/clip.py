"""The test's clip of one recording in numpy: what `mmcl_train.data` cuts in batches, where there is no torch.

The two are held equal by a test (1e-6).
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.store import Layout, UserError

from .model_input import ModelInput

_STREAM = re.compile(r"(joint|bone([2-8]?))(_motion)?")


def make_clip(joints_TMVC: NDArray[np.float32], model: ModelInput) -> NDArray[np.float32]:
    """Cleaned joints of one recording → what the model is shown.

    Args:
        joints_TMVC: (T', M', V, values of a joint), any T' ≥ 1 and M' ≥ 1; bodies beyond the model's are left out.

    Returns:
        (C, T, V, M) float32; absent bodies are 0.

    Raises:
        UserError: joints of another count or with other channels, or an unknown stream.
    """
    clip_TMVC = cut_clip(joints_TMVC, model)
    shown = (
        stack_streams(clip_TMVC, model.layout)
        if model.is_stacked
        else apply_stream(clip_TMVC, model.stream, model.layout)
    )
    return np.ascontiguousarray(shown.transpose(3, 0, 2, 1))


def cut_clip(joints_TMVC: NDArray[np.float32], model: ModelInput) -> NDArray[np.float32]:
    """(T', M', V, C) → (T, M, V, C): the transform that the model was trained for, as at test time."""
    _, length, num_joints, num_bodies = model.shape
    channels = model.joint_channels
    if joints_TMVC.shape[2:] != (num_joints, channels):
        raise UserError(
            f"joints of shape {joints_TMVC.shape[2:]} (joints, values); the model takes {num_joints} joints of "
            f"{channels} values ({model.layout.name})"
        )
    bodies = joints_TMVC[:, :num_bodies]
    is_scaled = model.transform == "nw-ucla"
    clip = scale_axes(bodies, length) if is_scaled else crop_resize(bodies, length, model.test_crop)
    padded = np.zeros((length, num_bodies, num_joints, channels), dtype=np.float32)
    padded[:, : clip.shape[1]] = clip
    return padded


def crop_resize(joints_TMVC: NDArray[np.float32], length: int, share: float) -> NDArray[np.float32]:
    """The middle `share` of the frames, linearly interpolated to `length` (half-pixel centres, ends held)."""
    frames = len(joints_TMVC)
    begin = int((1 - share) * frames / 2)
    crop = joints_TMVC[begin : frames - begin]
    scale = np.float32(len(crop)) / np.float32(length)
    at = np.maximum((np.arange(length, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    earlier = np.minimum(at.astype(np.int64), len(crop) - 1)
    later = np.minimum(earlier + 1, len(crop) - 1)
    weight = (at - earlier).astype(np.float32)[:, None, None, None]
    before = crop[earlier]
    return before + weight * (crop[later] - before)


def scale_axes(joints_TMVC: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """NW-UCLA's own: every axis to [−1, 1] over the recording, `length` frames at equal steps."""
    low = joints_TMVC.min(axis=(0, 1, 2))
    high = joints_TMVC.max(axis=(0, 1, 2))
    extent = high - low
    scale = np.divide(2, extent, out=np.zeros_like(extent), where=extent > 0)
    picked = np.linspace(0, len(joints_TMVC) - 1, length).astype(np.int64)
    scaled: NDArray[np.float32] = (joints_TMVC[picked] - (low + high) / 2) * scale
    return scaled


def apply_stream(clip_TMVC: NDArray[np.float32], stream: str, layout: Layout) -> NDArray[np.float32]:
    """Joints → the stream of that name: bones of any hops, then motion or not; see `mmcl_train.data.streams`."""
    match = _STREAM.fullmatch(stream)
    if match is None:
        raise UserError(f"the model wants an unknown stream {stream!r}; it was made by another version")
    if match[1] != "joint":
        clip_TMVC = clip_TMVC - take_ancestors(clip_TMVC, layout, int(match[2] or 1))
    if match[3]:
        moved = np.zeros_like(clip_TMVC)
        moved[:-1] = clip_TMVC[1:] - clip_TMVC[:-1]
        return moved
    return clip_TMVC


def stack_streams(clip_TMVC: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """Joint, bone, joint motion and bone motion as channels: (T, M, V, C) → (T, M, V, 4·C).

    Bones are of the layout's tree. Source: PSUMNet (ECCVW 2022), its four streams at once.
    """
    streams = ("joint", "bone", "joint_motion", "bone_motion")
    return np.concatenate([apply_stream(clip_TMVC, stream, layout) for stream in streams], axis=-1)


def take_ancestors(clip_TMVC: NDArray[np.float32], layout: Layout, hops: int) -> NDArray[np.float32]:
    """For every joint the joint `hops` up the tree; 0 where the tree ends before (one hop: the centre itself)."""
    if hops == 1:
        return clip_TMVC[:, :, list(layout.parents)]
    found = np.zeros_like(clip_TMVC)
    for joint in range(layout.num_joints):
        at = joint
        for _ in range(hops):
            at = -1 if at in (-1, layout.centre) else layout.parents[at]
        if at >= 0:
            found[:, :, joint] = clip_TMVC[:, :, at]
    return found
