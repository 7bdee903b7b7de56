"""The published per-sample formulation: one sample at a time, numpy, loops; what batches are compared with."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from mmcl_cache.store import Layout


def crop_window(frames: int, crop: tuple[float, float] | float, draws: np.ndarray | None) -> tuple[int, int]:
    """(first frame, length): the centre crop of one share, or a random crop from two uniform numbers."""
    if draws is None:
        cut = int((1 - crop) * frames / 2)
        return cut, frames - 2 * cut
    low, high = crop
    share = np.float32(low + (high - low) * draws[0])
    length = min(max(int(np.float32(frames) * share), 64), frames)
    return int(draws[1] * (frames - length + 1)), length


def resize_time(joints_TMVC: np.ndarray, length: int) -> np.ndarray:
    """Linear interpolation along time by torch's own interpolate."""
    t, m, v, c = joints_TMVC.shape
    series = torch.from_numpy(joints_TMVC.reshape(t, -1).T.copy())[None]
    resized = F.interpolate(series, size=length, mode="linear", align_corners=False)[0]
    return resized.T.reshape(length, m, v, c).numpy()


def turn(joints_TMVC: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Rz · Ry · Rx on every joint, one by one axis."""
    x, y, z = (float(a) for a in angles)
    about_x = np.array([[1, 0, 0], [0, math.cos(x), math.sin(x)], [0, -math.sin(x), math.cos(x)]])
    about_y = np.array([[math.cos(y), 0, -math.sin(y)], [0, 1, 0], [math.sin(y), 0, math.cos(y)]])
    about_z = np.array([[math.cos(z), math.sin(z), 0], [-math.sin(z), math.cos(z), 0], [0, 0, 1]])
    return joints_TMVC.astype(np.float64) @ (about_z @ about_y @ about_x).T


def cut_clip(
    joints_TMVC: np.ndarray,
    length: int,
    crop: tuple[float, float] | float,
    draws: np.ndarray | None,
    rotation: float,
) -> np.ndarray:
    """(T, M, V, C) of one sample → (C, length, V, M)."""
    first, size = crop_window(len(joints_TMVC), crop, draws)
    clip = resize_time(joints_TMVC[first : first + size], length)
    if draws is not None and rotation:
        clip = turn(clip, (2 * draws[2:5] - 1) * rotation)
    return clip.transpose(3, 0, 2, 1)


def cut_ucla(joints_TVC: np.ndarray, length: int, draws: np.ndarray | None, scale: float = 1.0) -> np.ndarray:
    """(T, V, 3) of one NW-UCLA sequence → (3, length, V, 1), every published step in its order."""
    frames = len(joints_TVC)
    x = y = 0.0
    if draws is not None:
        x, y = (math.radians(math.floor(d * 121) - 60) for d in draws[:2])
    value = joints_TVC.astype(np.float64) - joints_TVC[0, 1]
    about_x = np.array([[1, 0, 0], [0, math.cos(x), math.sin(x)], [0, -math.sin(x), math.cos(x)]])
    about_y = np.array([[math.cos(y), 0, -math.sin(y)], [0, 1, 0], [math.sin(y), 0, math.cos(y)]])
    value = value @ (about_y @ (about_x @ (np.eye(3) * scale)))
    low, high = value.reshape(-1, 3).min(0), value.reshape(-1, 3).max(0)
    value = (value - low) / (high - low) * 2 - 1
    if draws is None:
        picked = np.linspace(0, frames - 1, length).astype(int)
    else:
        picked = np.sort((draws[2:].astype(np.float32) * frames).astype(int))
    return value[picked].transpose(2, 0, 1)[..., None]


def plain_stream(joints_CTVM: np.ndarray, layout: Layout, hops: int, motion: bool) -> np.ndarray:
    """Bone of `hops` hops, then motion, joint by joint and frame by frame."""
    shown = joints_CTVM.copy()
    for joint in range(layout.num_joints):
        at: int | None = joint
        for _ in range(hops):
            if at is not None:
                at = None if at == layout.centre and hops > 1 else layout.parents[at]
        if hops and at is not None:
            shown[:, :, joint] = joints_CTVM[:, :, joint] - joints_CTVM[:, :, at]
    if motion:
        moved = np.zeros_like(shown)
        for frame in range(shown.shape[1] - 1):
            moved[:, frame] = shown[:, frame + 1] - shown[:, frame]
        shown = moved
    return shown
