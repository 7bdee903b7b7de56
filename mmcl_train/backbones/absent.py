"""Bodies that are not there: their rows are all alike, so one of them is computed for all.

Most clips of a two-body data set show one person, and the other body is zeros from beginning to end. After the input
norm such rows are equal, and what treats rows alike keeps them equal: in a batch of 64 clips with 15 second bodies,
80 rows instead of 128 give the same features, the same batch-norm statistics and the same gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from mmcl_train.backbones.norm import RowNorm


class BodyRows(NamedTuple):
    """Which of N·M rows are computed.

    Args:
        kept: (R,) int64 rows, in order: those of present bodies, and one for each body slot with absent ones.
        source: (N·M,) int64: which of the R rows a row is.
        counts: (R,) float32: how many rows each stands for.
    """

    kept: Tensor
    source: Tensor
    counts: Tensor


def merge_absent(absent: Tensor, multiple: int = 1) -> BodyRows | None:
    """Let one absent body of a slot stand for the others; None where no two share a slot.

    Args:
        absent: (N, M) bool, on the host: nothing here waits for a device.
        multiple: of which R is to be one, so that batches come in few sizes: as many absent bodies as that takes are
            computed for themselves.
    """
    standing = absent & (absent.cumsum(dim=0) == 1)
    merged = absent & ~standing
    spare = merged.flatten().nonzero()[:, 0]
    merged.view(-1)[spare[: -(merged.numel() - len(spare)) % multiple]] = False
    if not bool(merged.any()):
        return None
    computed = ~merged.flatten()
    place = (computed.cumsum(dim=0) - 1).view_as(absent)
    of_slot = (place * standing).sum(dim=0)
    counts = torch.ones(int(computed.sum()))
    counts[of_slot] += merged.sum(dim=0)
    return BodyRows(computed.nonzero()[:, 0], torch.where(merged, of_slot, place).flatten(), counts)


def find_absent(joints: Tensor) -> Tensor:
    """Bodies of (N, C, T, V, M) joints that are zeros from beginning to end: (N, M) bool."""
    return ~joints.detach().ne(0).permute(0, 4, 1, 2, 3).flatten(2).any(dim=-1)


@contextmanager
def counted_rows(norms: Sequence[RowNorm], rows: BodyRows) -> Iterator[None]:
    """Let these norms count every row as often as it stands for one."""
    for norm in norms:
        norm.row_counts, norm.row_total = rows.counts, len(rows.source)
    try:
        yield
    finally:
        for norm in norms:
            norm.row_counts = None
