from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from mmcl_cache.datasets import DATASETS, ScanOptions
from mmcl_cache.datasets.utd_mhad import read_depth_mat
from mmcl_cache.errors import SampleError
from tests.mmcl_cache.datasets.files import touch


def scan(source: Path, video: str = "auto"):
    return DATASETS["utd-mhad"](source, ScanOptions(video=video))


def test_real_files_give_the_published_counts(shared: Path):
    dataset = scan(shared / "data/utd_mhad")
    assert len(dataset.samples) == 861 and len(dataset.classes) == 27
    assert Counter(dataset.splits["xsub"].values()) == {"train": 431, "test": 430}
    assert all(s.video is not None and s.video.name.endswith("_depth.mp4") for s in dataset.samples)


def test_colour_is_taken_when_asked_for(shared: Path):
    dataset = scan(shared / "data/utd_mhad", "color")
    assert sum(s.video is not None for s in dataset.samples) == 3
    assert "858 of 861 samples have no video" in dataset.notes
    assert dataset.read(dataset.samples[0].skeleton).pixels is None


def test_joints_lie_inside_the_depth_images(shared: Path):
    dataset = scan(shared / "data/utd_mhad", "depth")
    for sample in dataset.samples[::60]:
        x, y = np.moveaxis(dataset.read(sample.skeleton).pixels, -1, 0)
        inside = (x >= 0) & (x < 320) & (y >= 0) & (y < 240)
        assert inside.mean() > 0.97, sample.sample_id


def test_cleaned_skeleton_has_the_shoulder_centre_of_frame_0_in_the_origin(shared: Path):
    dataset = scan(shared / "data/utd_mhad")
    clip = dataset.clean(dataset.read(dataset.samples[0].skeleton))
    assert dataset.layout.joints[1] == "shoulder_centre"
    assert (clip.joints[0, 0, 1] == 0).all()


def test_auto_takes_the_source_that_more_samples_have(tmp_path: Path):
    touch(
        tmp_path, ["a1_s1_t1_skeleton.mat", "a1_s1_t1_color.avi", "a1_s1_t2_color.avi", "a1_s1_t1_depth.mat"]
    )
    dataset = scan(tmp_path)
    assert dataset.settings["images"] == "color"
    assert "images from color: 1 depth and 2 colour files are here; choose with --video" in dataset.notes


def test_numbers_out_of_range_are_reported(tmp_path: Path):
    dataset = scan(touch(tmp_path, ["a1_s1_t1_skeleton.mat", "a28_s1_t1_skeleton.mat", "a1_s9_t1_color.avi"]))
    assert len(dataset.samples) == 1 and any("2 files left out" in note for note in dataset.notes)


def test_depth_file_comes_as_grey_near_is_bright(tmp_path: Path):
    depth = np.full((240, 320, 3), 2500, np.uint16)
    depth[0, :5, 1] = [0, 500, 1000, 4000, 6000]
    savemat(tmp_path / "a1_s1_t1_depth.mat", {"d_depth": depth})
    grey, fps = read_depth_mat(tmp_path / "a1_s1_t1_depth.mat")
    assert grey.shape == (3, 240, 320) and grey.dtype == np.uint8 and fps == 30
    assert grey[1, 0, :6].tolist() == [0, 255, 255, 20, 20, 138]


def test_depth_file_of_another_shape_is_a_sample_error(tmp_path: Path):
    savemat(tmp_path / "a1_s1_t1_depth.mat", {"d_depth": np.ones((24, 32, 3))})
    with pytest.raises(SampleError, match=r"shape \(24, 32, 3\), expected \(240, 320, frames\)"):
        read_depth_mat(tmp_path / "a1_s1_t1_depth.mat")
