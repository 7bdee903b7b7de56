from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmcl_cache.skeletons.denoise import denoise_ntu
from mmcl_cache.skeletons.ntu import read_ntu_skeleton
from mmcl_cache.store import LAYOUTS, Cache, Column, Description, Row, SampleTable, create_cache
from mmcl_train.data.clips import ClipSettings
from mmcl_train.data.resident import SplitSettings, load_split
from mmcl_train.deploy.prediction import find_inputs, predict_cache, predict_paths, predict_stream
from mmcl_train.deploy.torch_model import TorchModel
from mmcl_train.engine.evaluator import predict_split
from tests.mmcl_train.deploy.small_run import make_run

LENGTH = 16


@pytest.fixture(scope="module")
def files(shared: Path) -> list[Path]:
    return find_inputs([shared / "data" / "ntu" / "nturgb+d_skeletons"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TorchModel:
    return TorchModel(make_run(tmp_path_factory.mktemp("run")))


def cache_of(files: list[Path], path: Path) -> Cache:
    """The skeleton field of these files, as stage 1 makes it."""
    rows = np.zeros(len(files), np.int32)
    table = SampleTable(
        np.array([f.stem for f in files]), rows, rows, rows, rows, {"xsub": rows.astype(np.uint8) + 2}
    )
    clip = {"transform": "crop-resize", "length": LENGTH}
    classes = tuple(f"class {n}" for n in range(7))
    cache = create_cache(
        path, Description("real", classes, LAYOUTS["ntu25"], 2, ("xsub",), 3, clip), table, 9
    )
    made = []
    for file in files:
        joints = denoise_ntu(read_ntu_skeleton(file)).joints
        frames, bodies = joints.shape[:2]
        values = {
            "joints": joints.reshape(-1, 25, 3),
            "frames": np.int32(frames),
            "bodies": np.int32(bodies),
        }
        made.append(Row(file.stem, "ok", "", values))
    columns = (
        Column("joints", "float32", (25, 3), ragged=True),
        Column("frames", "int32"),
        Column("bodies", "int32"),
    )
    cache.add_field("skeleton", "default", {"format": "ntu-skeleton"}, columns).write_shard(0, made)
    return cache


def lines_of(file: Path) -> list[str]:
    """A frame a line, bodies by their tracking number, as a live source gives them."""
    recorded = read_ntu_skeleton(file)
    return [
        json.dumps({"bodies": {str(m): joints[m].tolist() for m in np.flatnonzero(present)}})
        for joints, present in zip(recorded.joints, recorded.present, strict=True)
    ]


def test_raw_files_give_the_logits_of_the_cache_and_of_evaluation(
    files: list[Path], model: TorchModel, tmp_path: Path
) -> None:
    cache = cache_of(files, tmp_path / "cache")
    raw = np.stack([p.logits for p in predict_paths(model, files, 0, 1)])
    cached = np.stack([p.logits for p in predict_cache(model, cache.path, "default", "", "test", 0, 1)])
    split = load_split(
        cache, cache.samples.sample_ids, "cpu", SplitSettings(clip=ClipSettings(length=LENGTH))
    )
    evaluated = predict_split(model.model, split, batch=8)
    np.testing.assert_allclose(raw, cached, atol=1e-5)
    np.testing.assert_allclose(raw, evaluated, atol=1e-5)
    assert (raw.argmax(1) == evaluated.argmax(1)).all()


@pytest.mark.parametrize("window", [0, 20])
def test_frames_one_by_one_give_what_the_file_gives(
    files: list[Path], model: TorchModel, window: int
) -> None:
    for file in files:
        whole = list(predict_paths(model, [file], window, 7))
        live = list(predict_stream(model, lines_of(file), window, 7))
        assert [(p.start, p.stop) for p in live] == [(p.start, p.stop) for p in whole]
        for ours, theirs in zip(live, whole, strict=True):
            np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-5)


def test_an_answer_comes_as_soon_as_its_window_is_complete(model: TorchModel) -> None:
    fed = 0

    def feed() -> object:
        nonlocal fed
        for frame in np.random.default_rng(0).normal(0, 1, (20, 25, 3)):
            fed += 1
            yield json.dumps(frame.tolist())

    when = [(fed, answer.stop) for answer in predict_stream(model, feed(), 8, 4)]
    assert when == [(8, 8), (12, 12), (16, 16), (20, 20)]


def test_a_window_in_which_nobody_is_seen_says_so_and_the_stream_goes_on(model: TorchModel) -> None:
    frame = json.dumps(np.random.default_rng(0).normal(0, 1, (25, 3)).tolist())
    answers = list(predict_stream(model, [frame] * 4 + ["[]"] * 4 + [frame] * 4, 4, 4))
    assert [answer.logits is None for answer in answers] == [False, True, False]
    assert answers[1].reason == "nobody in any frame"


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".json"])
def test_the_same_poses_in_any_file_give_the_same_logits(
    suffix: str, model: TorchModel, tmp_path: Path
) -> None:
    poses = np.random.default_rng(0).normal(0, 0.3, (2, 30, 25, 3)).astype(np.float32)
    np.save(tmp_path / "reference.npy", poses)
    path = tmp_path / f"poses{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps({"poses": poses.tolist()}))
    else:
        (np.save if suffix == ".npy" else np.savez)(path, poses)
    want, got = predict_paths(model, [tmp_path / "reference.npy", path], 0, 1)
    np.testing.assert_allclose(got.logits, want.logits, atol=1e-6)


def test_poses_of_an_estimator_in_each_json_form_are_one_recording(tmp_path: Path) -> None:
    flat = TorchModel(make_run(tmp_path / "run", "coco17"))
    rng = np.random.default_rng(0)
    poses = rng.uniform(10, 400, (12, 17, 3))
    poses[..., 2] = rng.uniform(0.3, 1, (12, 17))
    coco = [{"image_id": f"{n}.jpg", "keypoints": pose.ravel().tolist()} for n, pose in enumerate(poses)]
    people = [{"people": [{"pose_keypoints_2d": pose.ravel().tolist()}]} for pose in poses]
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    (tmp_path / "list.json").write_text(json.dumps(people))
    (tmp_path / "frames").mkdir()
    for n, frame in enumerate(people):
        (tmp_path / "frames" / f"clip_{n:012d}_keypoints.json").write_text(json.dumps(frame))
    np.save(tmp_path / "array.npy", poses)
    inputs = find_inputs([tmp_path / name for name in ("array.npy", "coco.json", "list.json", "frames")])
    logits = [p.logits for p in predict_paths(flat, inputs, 0, 1)]
    for each in logits[1:]:
        np.testing.assert_allclose(each, logits[0], atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "data", "pattern"),
    [
        ("nw-ucla20", "nw_ucla/all_sqe", "a01_s01_e00_v01.json"),
        ("utd-mhad20", "utd_mhad/Skeleton", "a1_s1_t1_skeleton.mat"),
    ],
)
def test_real_files_of_other_data_sets_are_read(
    layout: str, data: str, pattern: str, shared: Path, tmp_path: Path
) -> None:
    model = TorchModel(make_run(tmp_path, layout))
    (answer,) = predict_paths(model, [shared / "data" / data / pattern], 0, 1)
    assert answer.logits is not None and np.isfinite(answer.logits).all()


def test_a_model_without_cleaning_settings_takes_those_usual_for_its_layout(tmp_path: Path) -> None:
    model = TorchModel(make_run(tmp_path, skeleton={}))
    assert model.input.skeleton["format"] == "ntu-skeleton"
    assert isinstance(model.model, torch.nn.Module)
