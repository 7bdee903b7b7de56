"""The data sets: one file each. `DATASETS` maps a name to the function that finds its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mmcl_cache.datasets.dataset import Dataset, Sample, ScanOptions
from mmcl_cache.datasets.demo import scan_demo
from mmcl_cache.datasets.folder import scan_folder
from mmcl_cache.datasets.ntu import scan_ntu60, scan_ntu120
from mmcl_cache.datasets.nw_ucla import scan_nw_ucla
from mmcl_cache.datasets.sysu import scan_sysu
from mmcl_cache.datasets.utd_mhad import scan_utd_mhad

__all__ = ["DATASETS", "Dataset", "Sample", "ScanOptions"]

DATASETS: dict[str, Callable[[Path, ScanOptions], Dataset]] = {
    "demo": scan_demo,
    "ntu60": scan_ntu60,
    "ntu120": scan_ntu120,
    "nw-ucla": scan_nw_ucla,
    "utd-mhad": scan_utd_mhad,
    "sysu": scan_sysu,
    "folder": scan_folder,
}
