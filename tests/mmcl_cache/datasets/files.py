"""Folders of empty files for scans: a scan opens nothing, so names are enough."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def touch(root: Path, names: Iterable[str]) -> Path:
    """Empty files below `root`, folders made as needed."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root
