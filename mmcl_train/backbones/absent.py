"""Bodies that are not there: their rows are all alike, so one of them is computed for all.

Most clips of a two-body data set show one person, and the other body is zeros from beginning to end. After the input
norm such rows are equal, and what treats rows alike keeps them equal: in a batch of 64 clips with 15 second bodies,
80 rows instead of 128 give the same features, the same batch-norm statistics and the same gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from mmcl_train.backbones.norm import RowNorm


@dataclass(frozen=True)
class BodyRows:
    """Which of N·M rows are computed.

    Args:
        kept: (R,) rows, those of present bodies in order, then one for each body slot with absent ones.
        source: (N·M,) which of the R rows a row is.
        counts: (R,) how many rows each stands for.
    """

    kept: Tensor
    source: Tensor
    counts: Tensor


def find_body_rows(joints: Tensor) -> BodyRows | None:
    """Of (N, C, T, V, M) joints; None where no two absent bodies share a slot."""
    bodies = joints.shape[-1]
    absent = ~joints.detach().ne(0).permute(0, 4, 1, 2, 3).flatten(2).any(dim=-1)  # (N, M)
    per_slot = absent.sum(dim=0)
    if int(per_slot.max()) < 2:
        return None
    rows = torch.arange(absent.numel(), device=joints.device).view(-1, bodies)
    slots = per_slot.nonzero()[:, 0]
    first = absent.to(torch.uint8).argmax(dim=0)  # the clip whose row stands for its slot
    present = rows[~absent]
    kept = torch.cat([present, rows[first[slots], slots]])
    source = torch.empty_like(rows)
    source[~absent] = torch.arange(len(present), device=joints.device)
    standing = torch.zeros_like(per_slot)
    standing[slots] = torch.arange(len(present), len(kept), device=joints.device)
    source = torch.where(absent, standing, source)
    counts = torch.cat([torch.ones_like(present), per_slot[slots]])
    return BodyRows(kept, source.flatten(), counts)


@contextmanager
def counted_rows(norms: Sequence[RowNorm], counts: Tensor) -> Iterator[None]:
    """Let these norms count row n `counts[n]` times."""
    for norm in norms:
        norm.row_counts = counts
    try:
        yield
    finally:
        for norm in norms:
            norm.row_counts = None
