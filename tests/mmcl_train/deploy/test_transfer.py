from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from mmcl_cache.cli import main as cache_cli
from mmcl_cache.skeletons.matlab import read_kinect_mat
from mmcl_cache.store import LAYOUTS, Cache, Column, Description, Row, SampleTable, create_cache, open_cache
from mmcl_train.cli import cli
from mmcl_train.config import RunConfig
from mmcl_train.deploy.class_map import MAPS
from mmcl_train.deploy.joint_map import find_matrix, map_joints
from mmcl_train.deploy.torch_model import TorchModel
from mmcl_train.deploy.transfer import load_target, measure_transfer
from mmcl_train.engine.checkpoint import pack
from mmcl_train.method.frm import FeatureRefinement
from mmcl_train.settings import override, to_json
from tests.mmcl_train.data.small_cache import write_field
from tests.mmcl_train.deploy.small_run import make_run

CLASSES = tuple(f"action {n + 1}" for n in range(27))
PER_CLASS = 4
SKELETON = [
    Column("joints", "float32", (20, 3), ragged=True),
    Column("frames", "int32"),
    Column("bodies", "int32"),
]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def make_target(path: Path, text: bool = True, layout: str = "utd-mhad20") -> Cache:
    """27 classes as UTD-MHAD's, 4 samples each, two of them for testing; one has no skeleton, one no text."""
    labels = np.repeat(np.arange(27, dtype=np.int32), PER_CLASS)
    trial = np.tile(np.arange(PER_CLASS, dtype=np.int32), 27)
    ids = [f"a{label + 1:02d}_t{t}" for label, t in zip(labels, trial, strict=True)]
    codes = np.where(trial % 2, 2, 1).astype(np.uint8)
    table = SampleTable(np.array(ids), labels, trial, trial * 0, trial * 0, {"xsub": codes})
    about = Description(
        "utd-mhad", CLASSES, LAYOUTS[layout], 1, ("xsub",), 3, {"transform": "crop-resize", "length": 64}
    )
    cache = create_cache(path, about, table, 30)
    rows, answers = [], []
    for n, sample_id in enumerate(ids):
        rng = np.random.default_rng(n)
        frames = 20 + n % 7
        joints = rng.normal(0, 0.02, (frames, 20, 3)) + np.random.default_rng(900 + labels[n]).normal(
            0, 0.5, (20, 3)
        )
        values = {"joints": joints.astype(np.float32), "frames": np.int32(frames), "bodies": np.int32(1)}
        rows.append(
            Row(sample_id, "failed", "cut short")
            if sample_id == "a27_t3"
            else Row(sample_id, "ok", "", values)
        )
        answer = {"hidden_mean": np.array([[1, n % 2, 0]], np.float16)}
        answers.append(
            Row(sample_id, "failed", "no answer")
            if sample_id == "a03_t0"
            else Row(sample_id, "ok", "", answer)
        )
    write_field(cache, "skeleton", SKELETON, rows)
    if text:
        write_field(cache, "text", [Column("hidden_mean", "float16", (1, 3))], answers)
    return cache


def make_run_with_frm(folder: Path, text_width: int) -> Path:
    make_run(folder, classes=120, dataset="ntu120")
    step = folder / "checkpoints" / "step-00000001"
    step.mkdir(parents=True)
    (step / "state.json").write_text("{}")
    torch.manual_seed(0)
    frm = FeatureRefinement(text_width, 120)
    torch.nn.init.uniform_(frm.matrices, 0.2, 3)
    (step / "task.safetensors").write_bytes(
        pack({f"frm.{name}": value for name, value in frm.state_dict().items()})
    )
    return folder


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return make_target(tmp_path_factory.mktemp("target") / "cache")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in NTU's layout with 120 classes, trained on nothing, and an FRM beside it."""
    return make_run_with_frm(tmp_path_factory.mktemp("run") / "run", 3)


def test_every_joint_of_the_target_is_a_weighted_mean() -> None:
    for source in ("utd-mhad20", "kinect20", "nw-ucla20"):
        matrix = find_matrix(LAYOUTS[source], LAYOUTS["ntu25"])
        assert matrix.shape == (25, 20)
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


def test_both_orders_of_twenty_joints_give_the_same_twenty_five() -> None:
    utd, kinect, ntu = (LAYOUTS[name] for name in ("utd-mhad20", "kinect20", "ntu25"))
    joints = np.random.default_rng(0).normal(0, 1, (9, 1, 20, 3)).astype(np.float32)
    order = [utd.joints.index(name) for name in kinect.joints]
    ours = map_joints(joints, find_matrix(utd, ntu), ntu)
    theirs = map_joints(joints[:, :, order], find_matrix(kinect, ntu), ntu)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_spine_middle_of_frame_0_is_the_origin_and_a_shift_changes_nothing() -> None:
    utd, ntu = LAYOUTS["utd-mhad20"], LAYOUTS["ntu25"]
    joints = np.random.default_rng(0).normal(0, 1, (9, 1, 20, 3)).astype(np.float32)
    mapped = map_joints(joints, find_matrix(utd, ntu), ntu)
    np.testing.assert_allclose(mapped[0, 0, 1], 0, atol=1e-6)
    np.testing.assert_allclose(map_joints(joints + 3, find_matrix(utd, ntu), ntu), mapped, atol=1e-5)


def test_a_real_person_stays_one(shared: Path) -> None:
    """Neck between shoulders and head, tips beyond hands, in metres a body has."""
    path = shared / "data" / "utd_mhad" / "Skeleton" / "a1_s1_t1_skeleton.mat"
    ntu = LAYOUTS["ntu25"]
    joints = map_joints(read_kinect_mat(path, "d_skel").joints, find_matrix(LAYOUTS["utd-mhad20"], ntu), ntu)
    place = {name: joints[:, 0, v] for v, name in enumerate(ntu.joints)}
    height = place["head"][:, 1] - place["spine_base"][:, 1]
    assert (height > 0.3).all() and (height < 1.2).all()
    assert (place["spine_shoulder"][:, 1] < place["neck"][:, 1]).all()
    assert (place["neck"][:, 1] < place["head"][:, 1]).all()


def test_clips_have_an_empty_second_body(target: Cache, run: Path) -> None:
    model = TorchModel(run)
    clips = load_target(target, model, MAPS["utd-mhad"], "default")
    assert clips.clips.shape == (6 * PER_CLASS - 1, 3, 16, 25, 2)
    assert not clips.clips[..., 1].any() and list(clips.left_out) == ["a27_t3"]


def test_zero_shot_counts_by_class_and_as_a_whole() -> None:
    logits = np.zeros((4, 120), np.float32)
    logits[0, 22] = logits[1, 95] = logits[2, 22] = 1  # two right, and one that is second
    logits[2, 95] = 0.5
    logits[3, 100:110] = 1
    result = measure_transfer(logits, np.array([2, 5, 5, 2], np.int32), MAPS["utd-mhad"])
    assert [(each.label, each.count, each.top1, each.top5) for each in result.classes] == [
        (2, 2, 1, 1),
        (5, 2, 1, 2),
    ]
    assert (result.top1, result.top5) == (0.5, 0.75)


def test_transfer_runs_end_to_end_with_and_without_refined_scores(target: Cache, run: Path) -> None:
    result = call("transfer", "--run", run, "--cache", target.path, "--refined")
    assert result.exit_code == 0, result.output
    assert "N = 23, 6 classes" in result.output and "1 samples left out: cut short" in result.output
    assert (
        "refined: top-1" in result.output
        and "(1 samples without text keep their own scores)" in result.output
    )
    assert "action 3 → class 22 | 4 |" in result.output


def test_scores_are_refined_by_what_a_model_answered_of_real_strips(shared: Path, tmp_path: Path) -> None:
    """UTD-MHAD's depth videos and skeletons, built with the embedded model; the FRM is that of no training."""
    cache = tmp_path / "cache"
    source = f"--dataset utd-mhad --source {shared}/data/utd_mhad --video depth --limit 4 --quiet"
    fields = "--field skeleton --field strip --field text --workers 1 --model-threads 1 --device cpu"
    built = CliRunner().invoke(cache_cli, f"build {source} --cache {cache} {fields}".split())
    assert built.exit_code == 0, built.output
    width = (
        open_cache(cache).field("text").load(open_cache(cache).samples.sample_ids)["hidden_mean"].shape[-1]
    )
    run = make_run_with_frm(tmp_path / "run", width)
    (tmp_path / "map.json").write_text(json.dumps({"classes": {"9": 22}}))
    result = call("transfer", "--run", run, "--cache", cache, "--refined", "--map", tmp_path / "map.json")
    assert result.exit_code == 0, result.output
    assert "N = 4, 1 classes" in result.output and "refined: top-1" in result.output
    assert "without text" not in result.output


def test_text_that_was_made_otherwise_than_the_runs_is_noted(target: Cache, tmp_path: Path) -> None:
    run = make_run_with_frm(tmp_path / "run", 3)
    own = make_target(tmp_path / "own", text=False)
    columns = (Column("hidden_mean", "float16", (1, 3)),)
    for variant, question in (("same", "a test"), ("other", "another <question>")):
        own.add_field("text", variant, {"of": question}, columns)
        config = override(RunConfig(), [f"data.cache={own.path}", f"data.text_variant={variant}"])
        (run / "config.json").write_text(to_json(config))
        result = call("transfer", "--run", run, "--cache", target.path, "--refined")
        assert result.exit_code == 0, result.output
        noted = "of 'a test' there, 'another <question>' in training" in result.output
        assert noted is (variant == "other")


def test_all_of_utd_mhad_gives_191_samples(shared: Path, run: Path, tmp_path: Path) -> None:
    """By name only: the six classes of the map among the ids of the real files."""
    files = (shared / "data" / "utd_mhad" / "Skeleton").glob("*_skeleton.mat")
    labels = [int(file.name.split("_")[0][1:]) - 1 for file in files]
    assert sum(label in MAPS["utd-mhad"].classes for label in labels) == 191


def test_a_linear_probe_learns_classes_that_differ_in_pose(target: Cache, run: Path) -> None:
    result = call("transfer", "--run", run, "--cache", target.path, "--adapt", "probe")
    assert result.exit_code == 0, result.output
    assert "54 training and 53 test samples, 27 classes" in result.output
    assert float(result.output.split("top-1 ")[1].split()[0]) > 50


def test_fine_tuning_is_an_ordinary_run_on_the_mapped_cache(target: Cache, run: Path, tmp_path: Path) -> None:
    settings = ("schedule.epochs=1", "data.val=none")
    arguments = [part for setting in settings for part in ("--set", setting)]
    command = (
        "transfer",
        "--run",
        run,
        "--cache",
        target.path,
        "--adapt",
        "finetune",
        "--out",
        tmp_path / "out",
        *arguments,
    )
    result = call(*command)
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "out" / "run" / "config.json").read_text())
    assert config["model"]["init"] == str(run) and config["method"]["enabled"] is False
    assert (
        json.loads((tmp_path / "out" / "run" / "result.json").read_text())["accuracy"]["test-last"]["count"]
        == 53
    )
    assert call(*command).exit_code == 0  # finished: says its result again


def test_a_model_of_other_data_than_ntu_is_doubted_where_the_map_names_ntus_classes(
    target: Cache, tmp_path: Path
) -> None:
    other = make_run(tmp_path, classes=120, dataset="demo")
    assert "means nothing" in call("transfer", "--run", other, "--cache", target.path).output
    (tmp_path / "map.json").write_text(json.dumps({"classes": {"action 1": 5}}))
    told = call("transfer", "--run", other, "--cache", target.path, "--map", tmp_path / "map.json")
    assert told.exit_code == 0 and "means nothing" not in told.output


def test_a_map_of_ones_own_is_read_from_a_file(target: Cache, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"classes": {"action 1": "class 5", "3": 22}}))
    result = call("transfer", "--run", run, "--cache", target.path, "--map", path)
    assert result.exit_code == 0 and "N = 8, 2 classes" in result.output


def wrong_map(folder: Path, content: object) -> Path:
    path = folder / "map.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "not a map"),
        ({"classes": {"jumping": 3}}, "'jumping' is none of"),
        ({"classes": {"action 1": 3}, "joints": {"head": {"head": 0.5}}}, "sum to 0.5"),
        ({"classes": {"action 1": 3}, "joints": {"head": {"head": 1}}}, "has no rule"),
    ],
)
def test_a_wrong_map_is_one_line(
    content: object, said: str, target: Cache, run: Path, tmp_path: Path
) -> None:
    result = call("transfer", "--run", run, "--cache", target.path, "--map", wrong_map(tmp_path, content))
    assert result.exit_code == 2 and said in result.stderr and result.stderr.count("\n") == 1


def test_refined_scores_without_text_or_frm_are_one_line(run: Path, target: Cache, tmp_path: Path) -> None:
    bare = make_target(tmp_path / "bare", text=False)
    result = call("transfer", "--run", run, "--cache", bare.path, "--refined")
    assert result.exit_code == 2 and "has no text" in result.stderr and result.stderr.count("\n") == 1
    plain = make_run(tmp_path / "plain", classes=120)
    result = call("transfer", "--run", plain, "--cache", target.path, "--refined")
    assert result.exit_code == 2 and "no FRM" in result.stderr and result.stderr.count("\n") == 1


def test_a_model_of_a_layout_without_rules_is_one_line(target: Cache, tmp_path: Path) -> None:
    result = call("transfer", "--run", make_run(tmp_path, "coco17"), "--cache", target.path)
    assert result.exit_code == 2 and "no way from utd-mhad20" in result.stderr
