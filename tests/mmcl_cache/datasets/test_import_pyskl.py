from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcl_cache.datasets.import_clips import make_dataset
from mmcl_cache.datasets.import_pyskl import make_annotation, read_pyskl_pkl, write_pyskl_pkl
from mmcl_cache.errors import SampleError, SourceError
from mmcl_cache.store import LAYOUTS


def make_content(flat: bool = False) -> dict[str, Any]:
    """Three clips in pyskl's layout, the second with two bodies."""
    rng = np.random.default_rng(0)
    annotations = []
    for n, bodies in enumerate((1, 2, 1)):
        annotation = {
            "frame_dir": f"S001C001P00{n + 1}R001A00{n + 1}",
            "label": n,
            "keypoint": rng.normal(size=(bodies, 6 + n, 25, 2 if flat else 3)).astype(np.float32),
            "total_frames": 6 + n,
        }
        if flat:
            annotation["keypoint_score"] = rng.uniform(size=(bodies, 6 + n, 25)).astype(np.float32)
        annotations.append(annotation)
    names = [annotation["frame_dir"] for annotation in annotations]
    return {"split": {"xsub_train": names[:2], "xsub_val": names[2:]}, "annotations": annotations}


def write(folder: Path, content: Any) -> Path:
    with (folder / "a.pkl").open("wb") as stream:
        pickle.dump(content, stream)
    return folder / "a.pkl"


@pytest.mark.parametrize("flat", [False, True])
def test_round_trip_gives_the_same_arrays(tmp_path: Path, flat: bool):
    content = make_content(flat)
    clips = read_pyskl_pkl(write(tmp_path, content))
    annotations = [
        make_annotation(sample_id, clips.labels[place], clips.read(place), flat=flat)
        for place, sample_id in enumerate(clips.sample_ids)
    ]
    write_pyskl_pkl(tmp_path / "out.pkl", annotations, clips.splits)
    with (tmp_path / "out.pkl").open("rb") as stream:
        again = pickle.load(stream)
    assert again["split"] == content["split"]
    for old, new in zip(content["annotations"], again["annotations"], strict=True):
        assert set(old) == set(new)
        for key, value in old.items():
            np.testing.assert_array_equal(new[key], value)


def test_splits_become_protocols(tmp_path: Path):
    content = make_content()
    ids = [annotation["frame_dir"] for annotation in content["annotations"]]
    clips = read_pyskl_pkl(write(tmp_path, content))
    assert clips.splits == {"xsub": dict(zip(ids, ("train", "train", "test"), strict=True))}
    content["split"] = {"train": ids[:1], "val": ids[1:]}
    assert read_pyskl_pkl(write(tmp_path, content)).splits == {
        "split": dict(zip(ids, ("train", "test", "test"), strict=True))
    }


def test_half_precision_and_missing_scores_are_read(tmp_path: Path):
    content = make_content(flat=True)
    content["annotations"][0]["keypoint"] = content["annotations"][0]["keypoint"].astype(np.float16)
    del content["annotations"][0]["keypoint_score"]
    clip = read_pyskl_pkl(write(tmp_path, content)).read(0)
    assert clip.dtype == np.float32 and (clip[..., 2] == 1).all()


def test_body_that_is_zero_throughout_is_absent(tmp_path: Path):
    content = make_content()
    content["annotations"][1]["keypoint"][1] = 0
    assert read_pyskl_pkl(write(tmp_path, content)).read(1).shape == (7, 1, 25, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("split"), "no pyskl file"),
        (lambda c: c["annotations"].clear(), "annotations must be a list"),
        (lambda c: c["annotations"][1].pop("keypoint"), "annotation 1 lacks keypoint"),
        (lambda c: c["annotations"][1].update(label="a"), "annotation 1: .*label a whole number"),
        (lambda c: c["annotations"][1].update(label=2**40), "annotation 1: .*label a whole number"),
        (lambda c: c["annotations"].append(c["annotations"][0]), "is there twice"),
        (lambda c: c["split"].update(xsub_train=["x"]), "names 1 ids without an annotation, the first 'x'"),
        (
            lambda c: c["split"].update(xsub_val=c["split"]["xsub_train"]),
            "in both the train and the test split of 'xsub'",
        ),
        (lambda c: c["split"].update(other=[]), "split 'other': its name must end in train, val or test"),
        (lambda c: c.update(more=Path("x")), "refused: it names pathlib"),
    ],
)
def test_other_content_is_one_clear_line(tmp_path: Path, change: Any, message: str):
    content = make_content()
    change(content)
    with pytest.raises(SourceError, match=message):
        read_pyskl_pkl(write(tmp_path, content))


@pytest.mark.parametrize(
    ("keypoint", "message"),
    [
        (np.zeros((1, 5, 25, 3)), "nobody in any of its 5 frames"),
        (np.full((1, 5, 25, 3), np.nan), "frame 0: joint value nan"),
        (np.zeros((5, 25, 3)), "expected"),
        (np.zeros((1, 0, 25, 3)), "no frames"),
        ([1], "keypoint is list"),
    ],
)
def test_bad_annotation_is_a_sample_error_that_names_the_sample(tmp_path: Path, keypoint: Any, message: str):
    content = make_content()
    content["annotations"][0]["keypoint"] = keypoint
    with pytest.raises(SampleError, match=f"S001C001P001R001A001.*{message}"):
        read_pyskl_pkl(write(tmp_path, content)).read(0)


def test_clip_with_other_joints_is_a_sample_error(tmp_path: Path):
    content = make_content()
    content["annotations"][1]["keypoint"] = np.ones((1, 5, 17, 3))
    with pytest.raises(SampleError, match="17 joints, others have 25"):
        read_pyskl_pkl(write(tmp_path, content)).read(1)


def test_data_set_of_ntu_ids_knows_their_classes_and_subjects(tmp_path: Path):
    clips = read_pyskl_pkl(write(tmp_path, make_content()))
    dataset = make_dataset(clips, "ntu60", LAYOUTS["ntu25-hands"])
    assert len(dataset.classes) == 60 and dataset.classes[0] == "drink water" and dataset.num_bodies == 2
    assert [(s.subject, s.camera, s.label) for s in dataset.samples] == [(1, 1, 0), (2, 1, 1), (3, 1, 2)]
    assert dataset.splits == clips.splits


def test_data_set_of_other_ids_counts_its_classes_and_asks_for_its_layout(tmp_path: Path):
    content = make_content(flat=True)
    for n, annotation in enumerate(content["annotations"]):
        annotation["frame_dir"] = f"clip{n}"
    content["split"] = {"train": ["clip0", "clip1"], "test": ["clip2"]}
    clips = read_pyskl_pkl(write(tmp_path, content))
    dataset = make_dataset(clips, "mine", LAYOUTS["ntu25"])
    assert dataset.classes == ("0", "1", "2") and dataset.unit == "px"
    with pytest.raises(SourceError, match="25 joints, but layout coco17 has 17"):
        make_dataset(clips, "mine", LAYOUTS["coco17"])
