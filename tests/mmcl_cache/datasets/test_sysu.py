"""On files made in the documented layout: the data itself was not at hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from scipy.io import savemat

from mmcl_cache.datasets import DATASETS, ScanOptions
from tests.mmcl_cache.datasets.files import touch


def scan(source: Path, video: str = "auto"):
    return DATASETS["sysu"](source, ScanOptions(video=video))


def whole_set(root: Path, subjects: int = 40) -> Path:
    names = [
        f"SYSU3DAction/3DvideoNorm/person {s:02}/video{a}/sklWorld.mat"
        for s in range(subjects)
        for a in range(1, 13)
    ]
    return touch(root, names)


def test_whole_set_has_480_clips_and_even_halves_in_both_protocols(tmp_path: Path):
    dataset = scan(whole_set(tmp_path))
    assert len(dataset.samples) == 480 and len(dataset.classes) == 12
    for protocol in ("xsub", "half"):
        assert Counter(dataset.splits[protocol].values()) == {"train": 240, "test": 240}
    assert dataset.notes == ("480 of 480 samples have no video",)


def test_cross_subject_parts_people_and_half_parts_each_activity(tmp_path: Path):
    dataset = scan(whole_set(tmp_path))
    subject = {s.sample_id: s.subject for s in dataset.samples}
    label = {s.sample_id: s.label for s in dataset.samples}
    assert {subject[i] for i, split in dataset.splits["xsub"].items() if split == "train"} == set(
        range(1, 21)
    )
    per_activity = Counter(label[i] for i, split in dataset.splits["half"].items() if split == "train")
    assert set(per_activity.values()) == {20} and len(per_activity) == 12


def test_skeleton_is_read_in_metres_and_centred(tmp_path: Path):
    folder = tmp_path / "3DvideoNorm/anna/video12"
    folder.mkdir(parents=True)
    savemat(folder / "sklWorld.mat", {"SW": np.random.default_rng(0).normal(size=(20, 3, 9))})
    dataset = scan(tmp_path)
    (sample,) = dataset.samples
    clip = dataset.clean(dataset.read(sample.skeleton))
    assert sample.label == 11 and sample.sample_id == "anna_video12"
    assert clip.joints.shape == (9, 1, 20, 3) and (clip.joints[0, 0, 1] == 0).all()


def test_colour_beside_the_skeleton_is_found_as_video_folder_or_frames(tmp_path: Path):
    names = ["a/video1/sklWorld.mat", "a/video1/color.avi", "b/video1/sklWorld.mat", "b/video1/rgb/0001.jpg"]
    names += ["c/video1/sklWorld.mat", "c/video1/0001.jpg", "d/video1/sklWorld.mat", "d/video1/depth.avi"]
    dataset = scan(touch(tmp_path, names))
    videos = [s.video and str(s.video.relative_to(tmp_path)) for s in dataset.samples]
    assert videos == ["a/video1/color.avi", "b/video1/rgb", "c/video1", None]


def test_part_of_the_set_is_reported(tmp_path: Path):
    notes = scan(whole_set(tmp_path, subjects=3)).notes
    assert notes[0] == "36 of the 480 published samples are here"
    assert notes[1].startswith("3 subjects instead of 40")
