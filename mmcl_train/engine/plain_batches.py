"""Training clips made one after the other, as the published feeder does: what whole batches are measured against."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_cache.store import Cache
from mmcl_train.data.clips import ClipSettings
from mmcl_train.data.resident import ResidentSplit

PADDED = 300  # frames of the published files


def read_padded(cache: Cache, split: ResidentSplit, count: int) -> list[np.ndarray]:
    """The first samples of a split as (C, 300, V, M), padded with zeros, as the published files hold them."""
    columns = cache.field("skeleton", split.settings.skeleton_variant).load(split.sample_ids[:count])
    padded = []
    for n, (frames, bodies) in enumerate(
        zip(columns["frames"].tolist(), columns["bodies"].tolist(), strict=True)
    ):
        joints = columns["joints"][n]
        stored = joints.reshape(frames, bodies, *joints.shape[1:])[:PADDED, : split.num_bodies]
        whole = np.zeros((joints.shape[2], PADDED, joints.shape[1], split.num_bodies), np.float32)
        whole[:, : len(stored), :, : stored.shape[1]] = stored.transpose(3, 0, 2, 1)
        padded.append(whole)
    return padded


def cut_one_by_one(
    rows: Sequence[int], recordings: Sequence[np.ndarray], clip: ClipSettings, rng: np.random.Generator
) -> Tensor:
    """Clips of these recordings (a row past their end begins again), stacked: (N, C, T, V, M)."""
    return torch.stack([cut_plainly(recordings[row % len(recordings)], clip, rng) for row in rows])


def cut_plainly(whole: np.ndarray, clip: ClipSettings, rng: np.random.Generator) -> Tensor:
    """One recording, (C, 300, V, M) → (C, T, V, M): valid frames counted, crop, interpolation, one rotation."""
    channels, _, joints, bodies = whole.shape
    valid = int((whole.sum(axis=(0, 2, 3)) != 0).sum())
    size = min(max(math.floor(valid * rng.uniform(*clip.crop)), clip.shortest), valid)
    begin = int(rng.integers(0, valid - size + 1))
    series = torch.from_numpy(whole[:, begin : begin + size]).permute(0, 2, 3, 1).reshape(1, 1, -1, size)
    cut = F.interpolate(series, size=(series.shape[2], clip.length), mode="bilinear", align_corners=False)
    cut = (
        cut.view(channels, joints, bodies, clip.length).permute(3, 0, 1, 2).reshape(clip.length, channels, -1)
    )
    x, y, z = rng.uniform(-clip.rotation, clip.rotation, 3)
    turns = (
        [[1, 0, 0], [0, math.cos(x), math.sin(x)], [0, -math.sin(x), math.cos(x)]],
        [[math.cos(y), 0, -math.sin(y)], [0, 1, 0], [math.sin(y), 0, math.cos(y)]],
        [[math.cos(z), math.sin(z), 0], [-math.sin(z), math.cos(z), 0], [0, 0, 1]],
    )
    about_x, about_y, about_z = (
        torch.tensor(turn, dtype=torch.float32).expand(clip.length, 3, 3) for turn in turns
    )
    turned = about_z @ about_y @ about_x @ cut
    return turned.view(clip.length, channels, joints, bodies).permute(1, 0, 2, 3).contiguous()
