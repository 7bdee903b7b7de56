"""Skeletons of many samples in one tensor, and how their rows are found."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Recordings(NamedTuple):
    """B samples of a flat store.

    Body m of frame t of sample n is row starts[n] + t · bodies[n] + m. The store's last row is zeros: it
    stands for a body that is absent, so that no mask is needed.

    Args:
        flat: (ΣT·M + 1, V, C) float; all samples, whichever are chosen.
        starts: (B,) int64 row of each chosen sample's first frame.
        frames: (B,) int64, at least 1.
        bodies: (B,) int64 bodies stored, at least 1.
    """

    flat: Tensor
    starts: Tensor
    frames: Tensor
    bodies: Tensor


def find_rows(recordings: Recordings, times: Tensor, num_bodies: int) -> Tensor:
    """Rows of the flat store.

    Args:
        recordings: B samples.
        times: (B, T) int64 frames, each below the sample's count.
        num_bodies: M of the result; bodies beyond it are left out, absent ones give the row of zeros.

    Returns:
        (B, T, M) int64.
    """
    flat, starts, _, bodies = recordings
    body = torch.arange(num_bodies, device=times.device)
    rows = (starts[:, None] + times * bodies[:, None])[:, :, None] + body
    return torch.where(body < bodies[:, None, None], rows, flat.shape[0] - 1)


def take_rows(flat: Tensor, rows: Tensor) -> Tensor:
    """(R, V, C) and (…) int64 → (…, V, C)."""
    return flat.index_select(0, rows.reshape(-1)).view(*rows.shape, *flat.shape[1:])
