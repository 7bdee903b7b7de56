from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mmcl_cache.datasets import DATASETS, ScanOptions
from mmcl_cache.errors import SourceError
from tests.mmcl_cache.datasets.files import touch

SKELETON = "all_sqe/a08_s01_e00_v02.json"


def scan(source: Path, video: str = "auto"):
    return DATASETS["nw-ucla"](source, ScanOptions(video=video))


def test_real_files_give_the_published_counts(shared: Path):
    dataset = scan(shared / "data/nw_ucla")
    assert len(dataset.samples) == 1484 and len(dataset.classes) == 10
    assert Counter(dataset.splits["xview"].values()) == {"train": 1020, "test": 464}
    assert dataset.clip == {"transform": "nw-ucla", "length": 52}
    assert dataset.notes == ("1484 of 1484 samples have no video",)


def test_folder_of_frames_is_the_video(tmp_path: Path):
    touch(tmp_path, [SKELETON, "multiview_action/view_2/a08_s01_e00/frame_1_rgb.jpg"])
    (sample,) = scan(tmp_path).samples
    assert sample.video == tmp_path / "multiview_action/view_2/a08_s01_e00"
    assert (sample.label, sample.subject, sample.camera) == (6, 1, 2)


def test_avi_is_the_video(tmp_path: Path):
    touch(tmp_path, [SKELETON, "multiview_action_videos/a08/v02_s01_e00.avi"])
    (sample,) = scan(tmp_path).samples
    assert sample.video == tmp_path / "multiview_action_videos/a08/v02_s01_e00.avi"


def test_frames_and_avi_of_one_sequence_are_named(tmp_path: Path):
    touch(tmp_path, ["view_2/a08_s01_e00/frame_1_rgb.jpg", "a08/v02_s01_e00.avi"])
    with pytest.raises(SourceError, match="sample a08_s01_e00_v02: two video files"):
        scan(tmp_path)


def test_action_that_was_never_given_out_is_reported(tmp_path: Path):
    dataset = scan(touch(tmp_path, [SKELETON, "all_sqe/a07_s01_e00_v02.json"]))
    assert len(dataset.samples) == 1
    assert (
        "1 files or folders left out, their action is none of the data set's: a07_s01_e00_v02.json"
        in dataset.notes
    )
