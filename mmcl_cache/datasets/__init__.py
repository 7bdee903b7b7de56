"""The data sets: one file each. `DATASETS` maps a name to the function that finds its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mmcl_cache.datasets.dataset import Dataset, Sample, ScanOptions
from mmcl_cache.datasets.ntu import scan_ntu60, scan_ntu120

__all__ = ["DATASETS", "Dataset", "Sample", "ScanOptions"]

DATASETS: dict[str, Callable[[Path, ScanOptions], Dataset]] = {
    "ntu60": scan_ntu60,
    "ntu120": scan_ntu120,
}
