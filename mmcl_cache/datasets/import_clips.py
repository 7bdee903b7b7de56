"""Skeletons that somebody else prepared: what every import gives, whatever the file was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.errors import SourceError


@dataclass(frozen=True)
class ImportedClips:
    """The clips of one file, which stays open for reading them one by one.

    Args:
        source: the file.
        sample_ids: in the order of the file, unique.
        labels: (N,) int32, 0-based.
        splits: protocol → sample id → "train" or "test".
        read: place in `sample_ids` → (T, M, V, C) float32, without padding and absent bodies; raises SampleError.
    """

    source: Path
    sample_ids: tuple[str, ...]
    labels: NDArray[np.int32]
    splits: Mapping[str, Mapping[str, str]]
    read: Callable[[int], NDArray[np.float32]]

    def order(self) -> list[int]:
        """The places in the order of the sorted ids, as a cache wants them."""
        return sorted(range(len(self.sample_ids)), key=self.sample_ids.__getitem__)


def check_ids(source: Path, sample_ids: Sequence[str]) -> None:
    """Raises SourceError where an id is there twice; names it."""
    if len(set(sample_ids)) == len(sample_ids):
        return
    seen: set[str] = set()
    for sample_id in sample_ids:
        if sample_id in seen:
            raise SourceError(f"{source}: sample id {sample_id!r} is there twice")
        seen.add(sample_id)
