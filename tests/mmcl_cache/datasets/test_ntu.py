from __future__ import annotations

from pathlib import Path

import pytest

from mmcl_cache.datasets import DATASETS, ScanOptions
from mmcl_cache.errors import SourceError, UserError
from tests.mmcl_cache.datasets.files import touch

FIRST, SECOND = "S001C001P001R001A001", "S018C002P041R001A061"
MISSING = "S001C002P005R002A008"


def scan(source: Path, name: str = "ntu120", video: str = "auto"):
    return DATASETS[name](source, ScanOptions(video=video))


@pytest.mark.parametrize(
    "names",
    [
        # One tree.
        [
            f"nturgb+d_skeletons/{FIRST}.skeleton",
            f"nturgb+d_skeletons/{SECOND}.skeleton",
            f"nturgb+d_rgb/{FIRST}_rgb.avi",
        ],
        # Two trees side by side.
        [
            f"nturgb+d_skeletons/{FIRST}.skeleton",
            f"nturgb+d_skeletons_s018_to_s032/{SECOND}.skeleton",
            f"nturgb+d_rgb/{FIRST}_rgb.avi",
        ],
        # A folder a part, as the archives unpack; no folder at all.
        [
            f"skeletons60/nturgb+d_skeletons/{FIRST}.skeleton",
            f"skeletons120/nturgb+d_skeletons120/{SECOND}.skeleton",
            f"videos/nturgb+d_rgb_s001/nturgb+d_rgb/{FIRST}_rgb.avi",
        ],
        [f"{FIRST}.skeleton", f"{SECOND}.skeleton", f"{FIRST}_rgb.mp4"],
    ],
)
def test_one_tree_or_two_give_the_same_samples(tmp_path: Path, names: list[str]):
    dataset = scan(touch(tmp_path, names))
    assert [
        (s.sample_id, s.label, s.setup, s.subject, s.camera, s.video is not None) for s in dataset.samples
    ] == [
        (FIRST, 0, 1, 1, 1, True),
        (SECOND, 60, 18, 41, 2, False),
    ]
    assert dataset.splits["xset"] == {FIRST: "test", SECOND: "train"}
    assert dataset.notes == ("2 of the 113,945 published samples are here", "1 of 2 samples have no video")


def test_other_modalities_beside_are_not_read_as_samples(tmp_path: Path):
    names = [
        f"nturgb+d_depth_masked/{FIRST}/MDepth-00000001.png",
        f"nturgb+d_ir/{FIRST}_ir.avi",
        f"{FIRST}.skeleton",
    ]
    dataset = scan(touch(tmp_path, names))
    assert len(dataset.samples) == 1 and dataset.samples[0].video is None


def test_what_is_left_out_is_counted_and_named(tmp_path: Path):
    names = [FIRST, SECOND, MISSING, "S001C001P050R001A001", "S001C001P001R001A061"]
    source = touch(
        tmp_path, [f"{name}.skeleton" for name in names] + ["S1C1P1R1A1.skeleton", "holiday_rgb.avi", "x.avi"]
    )
    notes = "\n".join(scan(source, "ntu60").notes)
    assert f"1 ids on the published list of missing skeletons left out: {MISSING}" in notes
    assert "1 ids of setups 18 to 32 left out" in notes
    assert (
        "2 ids left out, never recorded by the data set's authors: S001C001P001R001A061, S001C001P050R001A001"
        in notes
    )
    assert "2 files left out, their names hold no NTU id: S1C1P1R1A1.skeleton, holiday_rgb.avi" in notes


def test_two_files_for_one_id_are_named(tmp_path: Path):
    source = touch(tmp_path, [f"a/{FIRST}.skeleton", f"b/{FIRST}.skeleton"])
    with pytest.raises(SourceError, match=f"sample {FIRST}: two skeleton files, .* and .*remove one"):
        scan(source)


def test_without_video_only_skeletons_count(tmp_path: Path):
    dataset = scan(touch(tmp_path, [f"{FIRST}.skeleton", f"{SECOND}_rgb.avi"]), video="none")
    assert [s.sample_id for s in dataset.samples] == [FIRST] and "video" not in " ".join(dataset.notes)


def test_real_folder_has_one_pair_one_lone_video_and_three_lone_skeletons(shared: Path):
    dataset = scan(shared / "data/ntu", "ntu60")
    has = {s.sample_id: (s.video is not None, s.skeleton is not None) for s in dataset.samples}
    assert has == {
        "S001C001P001R001A001": (True, True),
        "S001C001P001R001A002": (True, False),
        "S002C001P003R001A003": (False, True),
        "S017C003P020R002A054": (False, True),
        "S017C003P020R002A055": (False, True),
    }
    assert set(dataset.splits) == {"xsub", "xview"}


def test_ids_of_the_other_half_alone_ask_whether_it_is_the_right_data_set(tmp_path: Path):
    with pytest.raises(SourceError, match=f"the 1 ids in .* are none of its samples: {SECOND}"):
        scan(touch(tmp_path, [f"{SECOND}.skeleton"]), "ntu60")


@pytest.mark.parametrize("name", ["ntu60", "ntu120", "nw-ucla", "utd-mhad", "sysu", "folder"])
def test_wrong_folder_names_what_was_looked_for_and_what_was_found(tmp_path: Path, name: str):
    source = touch(tmp_path, ["holiday/readme.txt", "notes.doc"])
    with pytest.raises(SourceError, match=rf"{name}: looked in .* for .*; found holiday/, notes\.doc"):
        scan(source, name)


@pytest.mark.parametrize("name", ["ntu60", "nw-ucla", "utd-mhad", "sysu", "folder"])
def test_missing_empty_and_no_folder_are_clear(tmp_path: Path, name: str):
    with pytest.raises(SourceError, match="does not exist; name it with --source"):
        scan(tmp_path / "none", name)
    with pytest.raises(SourceError, match="found an empty folder"):
        scan(tmp_path, name)
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="is not a folder"):
        scan(tmp_path / "file", name)


@pytest.mark.parametrize("name", ["ntu60", "nw-ucla", "utd-mhad", "sysu", "folder"])
def test_unknown_image_source_lists_the_known_ones(tmp_path: Path, name: str):
    with pytest.raises(UserError, match=rf"{name} has no image source 'sonar'; known: auto, color"):
        scan(tmp_path, name, video="sonar")


def test_both_bone_conventions_are_layouts_of_ntu(tmp_path: Path):
    source = touch(tmp_path, [f"{FIRST}.skeleton"])
    parents = {
        name: DATASETS["ntu60"](source, ScanOptions(layout=name)).layout.parents
        for name in (None, "ntu25", "ntu25-hands")
    }
    assert parents[None] == parents["ntu25"]
    # Hand tips: on the thumbs, or on the hands.
    assert (parents["ntu25"][21], parents["ntu25-hands"][21]) == (22, 7)


@pytest.mark.parametrize("name", ["ntu60", "nw-ucla", "utd-mhad", "sysu"])
def test_options_that_a_data_set_cannot_heed_are_refused(tmp_path: Path, name: str):
    with pytest.raises(UserError, match=f"{name} has no layout 'coco17'; known: "):
        DATASETS[name](tmp_path, ScanOptions(layout="coco17"))
    with pytest.raises(UserError, match=f"{name} takes no CSV"):
        DATASETS[name](tmp_path, ScanOptions(csv=tmp_path / "a.csv"))
