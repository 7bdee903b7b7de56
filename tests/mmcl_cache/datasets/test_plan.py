from __future__ import annotations

from pathlib import Path

import pytest

from mmcl_cache.datasets import DATASETS, ScanOptions, plan
from mmcl_cache.datasets.plan import plan_summary


def write_source(root: Path, names: list[str], size: int = 100) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return root


def test_counts_and_bytes_of_what_is_there(tmp_path: Path):
    first, second, third = (f"S001C001P001R001A{a:03}" for a in (1, 2, 3))
    names = [f"{first}.skeleton", f"{first}_rgb.avi", f"{second}.skeleton", f"{third}_rgb.avi"]
    summary = plan_summary(DATASETS["ntu60"](write_source(tmp_path, names), ScanOptions()))
    assert (summary.samples, summary.complete, summary.no_video, summary.no_skeleton, summary.nothing) == (
        3,
        1,
        1,
        1,
        0,
    )
    assert (summary.no_video_ids, summary.no_skeleton_ids) == ((second,), (third,))
    assert (summary.video_bytes, summary.skeleton_bytes, summary.estimated) == (200, 200, False)
    assert summary.splits == {"xsub": (3, 0), "xview": (0, 3)}


def test_bytes_of_many_files_are_estimated_from_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan, "MOST_ASKED", 4)
    names = [f"S001C001P001R001A{a:03}.skeleton" for a in range(1, 12)]
    summary = plan_summary(DATASETS["ntu60"](write_source(tmp_path, names), ScanOptions()))
    assert summary.estimated and summary.skeleton_bytes == 1100


def test_folder_of_frames_counts_its_images(tmp_path: Path):
    names = [
        "view_1/a01_s01_e00/frame_1_rgb.jpg",
        "view_1/a01_s01_e00/frame_2_rgb.jpg",
        "view_1/a01_s01_e00/notes.txt",
    ]
    summary = plan_summary(DATASETS["nw-ucla"](write_source(tmp_path, names), ScanOptions()))
    assert summary.video_bytes == 200


def test_real_folders(shared: Path):
    summary = plan_summary(DATASETS["utd-mhad"](shared / "data/utd_mhad", ScanOptions()))
    assert (summary.samples, summary.complete) == (861, 861)
    assert summary.splits == {"xsub": (431, 430)}
