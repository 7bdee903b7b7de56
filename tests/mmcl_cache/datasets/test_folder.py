from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from mmcl_cache.datasets import DATASETS, ScanOptions
from mmcl_cache.errors import SourceError, UserError
from tests.mmcl_cache.datasets.files import touch

HEADER = "sample_id,video,skeleton,label,subject,split\n"


def scan(source: Path, **options: object):
    return DATASETS["folder"](source, ScanOptions(**options))


def write_poses(path: Path, shape: tuple[int, ...] = (8, 17, 3)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.random.default_rng(0).uniform(1, 200, shape).astype(np.float32))
    return path


def write_table(source: Path, rows: str, header: str = HEADER) -> Path:
    touch(source, ["a.mp4", "b.mp4"])
    write_poses(source / "a.npy")
    (source / "samples.csv").write_text(header + rows)
    return source


def test_class_folders_with_poses_beside_the_videos(tmp_path: Path):
    write_poses(touch(tmp_path, ["wave/1.mp4", "wave/2.mp4", "jump/1.mp4"]) / "wave/1.npy")
    dataset = scan(tmp_path)
    assert [(s.sample_id, s.label, s.skeleton is not None) for s in dataset.samples] == [
        ("jump__1", 0, False),
        ("wave__1", 1, True),
        ("wave__2", 1, False),
    ]
    assert dataset.classes == ("jump", "wave") and dataset.layout.name == "coco17"
    assert dataset.notes == ("2 of 3 samples have no skeleton file",)


def test_class_folders_below_kinds_and_splits(tmp_path: Path):
    touch(tmp_path, ["videos/train/wave/1.mp4", "videos/val/wave/2.mp4"])
    write_poses(tmp_path / "skeletons/train/wave/1.npy")
    dataset = scan(tmp_path)
    assert dataset.splits == {"split": {"wave__1": "train", "wave__2": "test"}}
    assert dataset.samples[0].skeleton is not None and dataset.samples[0].video is not None


def test_folder_of_frames_is_a_clip(tmp_path: Path):
    dataset = scan(touch(tmp_path, ["wave/first/001.jpg", "wave/first/002.jpg"]))
    assert dataset.samples[0].sample_id == "wave__first"
    assert dataset.samples[0].video == tmp_path / "wave/first"


def test_clips_outside_class_folders_are_reported(tmp_path: Path):
    dataset = scan(touch(tmp_path, ["wave/1.mp4", "2.mp4", "deep/er/3.mp4"]))
    assert "2 clips left out, they do not lie in one class folder: 2.mp4, deep/er/3.mp4" in dataset.notes


def test_two_videos_of_one_clip_are_named(tmp_path: Path):
    with pytest.raises(
        SourceError, match=r"sample wave__1: two video files, .*1\.(avi|mp4) and .*1\.(avi|mp4)"
    ):
        scan(touch(tmp_path, ["wave/1.mp4", "wave/1.avi"]))


def test_table_gives_samples_subjects_and_split(tmp_path: Path):
    rows = "one,a.mp4,a.npy,wave,anna,train\ntwo,b.mp4,,jump,bert,test\n\n"
    dataset = scan(write_table(tmp_path, rows))
    assert [(s.sample_id, s.label, s.subject) for s in dataset.samples] == [("one", 1, 1), ("two", 0, 2)]
    assert dataset.splits == {
        "split": {"one": "train", "two": "test"},
        "xsub": {"one": "train", "two": "test"},
    }


def test_table_may_lie_elsewhere_and_begin_with_a_byte_order_mark(tmp_path: Path):
    source = write_table(tmp_path / "data", "")
    table = tmp_path / "list.csv"
    table.write_text("\ufeff" + HEADER + "one,a.mp4,a.npy,wave,,\n", encoding="utf-8")
    assert scan(source, csv=table).samples[0].video == source / "a.mp4"


def test_labels_that_are_numbers_are_ordered_as_numbers(tmp_path: Path):
    rows = "".join(f"s{n},a.mp4,,{n},," + "\n" for n in (10, 9, 2))
    assert scan(write_table(tmp_path, rows)).classes == ("2", "9", "10")


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ("one,a.mp4,wave\n", "sample_id,video,class\n", "missing column label"),
        ("one,wave\n", "sample_id,label\n", "missing column video or skeleton"),
        ("one,a.mp4,,wave,,\none,b.mp4,,wave,,\n", HEADER, "line 3: sample id 'one' is on line 2 already"),
        ("one,../secret.mp4,,wave,,\n", HEADER, r"line 2: '\.\./secret\.mp4' lies outside"),
        ("one,/etc/passwd,,wave,,\n", HEADER, "'/etc/passwd' lies outside"),
        ("one,,,wave,,\n", HEADER, "line 2: neither a video nor a skeleton"),
        ("one,a.mp4,,,,\n", HEADER, "line 2: label is empty"),
        ("one,a.mp4,,wave\n", HEADER, "line 2: 4 cells, but the header has 6 columns"),
        ("one,a.mp4,,wave,,dev\n", HEADER, "line 2: split 'dev'; known: train, test"),
        ("a/b,a.mp4,,wave,,\n", HEADER, "path separator"),
        ("", HEADER, "no rows"),
        ("", "", "missing column sample_id, label"),
        ("", "label,label,sample_id,video\n", "column label is there twice"),
    ],
)
def test_bad_table_is_one_clear_line(tmp_path: Path, rows: str, header: str, message: str):
    with pytest.raises(SourceError, match=message):
        scan(write_table(tmp_path, rows, header))


def test_files_that_the_table_names_but_are_not_there_are_reported(tmp_path: Path):
    dataset = scan(write_table(tmp_path, "one,gone.mp4,a.npy,wave,,\n"))
    assert any("1 files in samples.csv do not exist" in note and "gone.mp4" in note for note in dataset.notes)
    assert len(dataset.samples) == 1


@pytest.mark.parametrize(
    ("joints", "layout"),
    [(17, "coco17"), (18, "openpose18"), (20, "kinect20"), (25, "ntu25"), (33, "mediapipe33")],
)
def test_layout_is_told_by_the_number_of_joints(tmp_path: Path, joints: int, layout: str):
    write_poses(tmp_path / "wave/1.npy", (8, joints, 3))
    dataset = scan(tmp_path)
    assert dataset.layout.name == layout
    assert dataset.settings["dimensions"] == (2 if joints in (17, 18) else 3)
    assert dataset.read(dataset.samples[0].skeleton).joints.shape == (8, 1, joints, 3)


def test_layout_of_ones_own_as_json(tmp_path: Path):
    write_poses(tmp_path / "wave/1.npy", (8, 3, 2))
    layout = {"name": "stick", "joints": ["foot", "hip", "head"], "parents": [1, 1, 1], "centre": 1}
    (tmp_path / "layout.json").write_text(json.dumps(layout))
    dataset = scan(tmp_path)
    clip = dataset.clean(dataset.read(dataset.samples[0].skeleton))
    assert dataset.layout.joints == ("foot", "hip", "head") and dataset.settings["dimensions"] == 2
    assert clip.joints.shape == (8, 1, 3, 3)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("coco18", "'coco18' is neither a file nor one of ntu25"),
        ("bad.json", "bad.json: not JSON"),
        ("part.json", "part.json: a layout needs the keys"),
        ("four.json", "dimensions 4; 2 .* or 3"),
    ],
)
def test_bad_layout_is_one_clear_line(tmp_path: Path, layout: str, message: str):
    write_poses(tmp_path / "wave/1.npy")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "part.json").write_text("{}")
    whole = {"name": "n", "joints": ["a"], "parents": [0], "centre": 0, "dimensions": 4}
    (tmp_path / "four.json").write_text(json.dumps(whole))
    with pytest.raises(UserError, match=message):
        scan(tmp_path, layout=layout)


def test_unknown_number_of_joints_asks_for_a_layout(tmp_path: Path):
    write_poses(tmp_path / "wave/1.npy", (8, 21, 3))
    with pytest.raises(UserError, match=r"no built-in layout has 21 joints.*--layout"):
        scan(tmp_path)
    write_poses(tmp_path / "wave/2.npy")
    with pytest.raises(UserError, match="have 17, 21 joints; name the layout"):
        scan(tmp_path)


def test_number_of_bodies_is_the_most_of_any_file_but_two_at_most(tmp_path: Path):
    write_poses(tmp_path / "wave/1.npy")
    assert scan(tmp_path).num_bodies == 1
    write_poses(tmp_path / "wave/2.npy", (4, 8, 17, 3))
    dataset = scan(tmp_path)
    assert dataset.num_bodies == 2
    bodies = dataset.read(dataset.samples[1].skeleton)
    assert (bodies.num_bodies, dataset.clean(bodies).num_bodies, dataset.people(bodies).num_bodies) == (
        4,
        2,
        2,
    )


def test_without_splits_or_subjects_every_fifth_clip_of_a_class_tests(tmp_path: Path):
    dataset = scan(touch(tmp_path, [f"{name}/{n:02}.mp4" for name in ("jump", "wave") for n in range(10)]))
    test = [i for i, split in dataset.splits["holdout"].items() if split == "test"]
    assert test == ["jump__01", "jump__06", "wave__01", "wave__06"]


def test_readers_travel_to_other_processes(tmp_path: Path):
    write_poses(tmp_path / "wave/1.npy")
    dataset = scan(tmp_path)
    read, clean = pickle.loads(pickle.dumps((dataset.read, dataset.clean)))
    assert clean(read(dataset.samples[0].skeleton)).num_frames == 8
