"""Rotations about the axes, in the sign convention of the published feeders."""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_about_x(angles: Tensor) -> Tensor:
    """(…) radians → (…, 3, 3), rows [1 0 0], [0 c s], [0 −s c]."""
    c, s, zero, one = _entries(angles)
    return _matrix([one, zero, zero, zero, c, s, zero, -s, c])


def rotation_about_y(angles: Tensor) -> Tensor:
    """(…) radians → (…, 3, 3), rows [c 0 −s], [0 1 0], [s 0 c]."""
    c, s, zero, one = _entries(angles)
    return _matrix([c, zero, -s, zero, one, zero, s, zero, c])


def rotation_about_z(angles: Tensor) -> Tensor:
    """(…) radians → (…, 3, 3), rows [c s 0], [−s c 0], [0 0 1]."""
    c, s, zero, one = _entries(angles)
    return _matrix([c, s, zero, -s, c, zero, zero, zero, one])


def rotation_matrices(angles: Tensor) -> Tensor:
    """R = Rz · Ry · Rx, to be applied to column vectors.

    Source: the feeder of CTR-GCN, which draws one rotation a sample.

    Args:
        angles: (…, 3) radians about x, y, z.

    Returns:
        (…, 3, 3).
    """
    x, y, z = angles.unbind(-1)
    return rotation_about_z(z) @ rotation_about_y(y) @ rotation_about_x(x)


def _entries(angles: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return angles.cos(), angles.sin(), torch.zeros_like(angles), torch.ones_like(angles)


def _matrix(entries: list[Tensor]) -> Tensor:
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))
