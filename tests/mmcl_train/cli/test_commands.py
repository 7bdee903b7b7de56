from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmcl_train.cli import cli
from tests.mmcl_train.engine import learnable_cache
from tests.mmcl_train.engine.learnable_cache import SMALL, make_cache


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def small(*settings: str) -> list[str]:
    return [part for setting in (*SMALL, "schedule.epochs=1", *settings) for part in ("--set", setting)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("cache") / "cache").path


@pytest.fixture(scope="module")
def finished(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    result = call("run", "--cache", cache, "--out", folder, *small())
    assert result.exit_code == 0, result.output
    return folder


def test_help_answers_without_torch() -> None:
    code = "import sys; from mmcl_train.cli import cli; cli(['run', '--help'], standalone_mode=False)"
    code += "; assert 'torch' not in sys.modules"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--no-mmcl" in done.stdout
    assert time.monotonic() - began < 5  # under a second on an idle machine


def test_a_run_writes_all_it_promises(finished: Path) -> None:
    names = [
        "config.json",
        "environment.json",
        "fields.json",
        "metrics.jsonl",
        "model.safetensors",
        "model.json",
    ]
    names += [
        "result.json",
        "scores/test-last.npz",
        "scores/val-last.npz",
        "scores/test-best-val.npz",
        "tensorboard",
    ]
    assert [name for name in names if not (finished / name).exists()] == []
    assert len((finished / "metrics.jsonl").read_text().splitlines()) == 1
    state = (finished / "model.safetensors").read_bytes()[:2000]
    assert b"backbone." in state and b"fam." not in state and b"frm." not in state


def test_the_same_command_on_a_finished_run_prints_its_result(finished: Path, cache: Path) -> None:
    before = (finished / "result.json").stat().st_mtime_ns
    result = call("run", "--cache", cache, "--out", finished, *small())
    assert result.exit_code == 0 and "test, last epoch" in result.output
    assert (finished / "result.json").stat().st_mtime_ns == before


def test_the_saved_config_repeats_a_run(finished: Path, tmp_path: Path) -> None:
    result = call("run", "--config", finished / "config.json", "--out", tmp_path / "again")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        finished / "model.safetensors"
    ).read_bytes()


def test_eval_gives_the_accuracy_of_the_run(finished: Path) -> None:
    result = call("eval", "--run", finished, "--split", "test", "--device", "cpu")
    top1 = json.loads((finished / "result.json").read_text())["accuracy"]["test-last"]["top1"]
    assert result.exit_code == 0 and f"top-1 {100 * top1:.2f}" in result.output


def test_ensemble_and_compare_take_run_folders(finished: Path) -> None:
    result = call("ensemble", finished, finished, "--weights", "fit")
    assert result.exit_code == 0 and "ensemble" in result.output
    result = call("compare", finished, finished, "--against", finished, finished, "--pairs", 3)
    assert result.exit_code == 0, result.output
    assert "A - B  +0.00 points" in result.output and "2 runs" in result.output


def test_a_folder_of_another_run_is_refused_by_what_differs(finished: Path, cache: Path) -> None:
    result = call("run", "--quiet", "--cache", cache, "--out", finished, *small("data.stream=bone"))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and "data.stream: joint → bone" in result.stderr


def test_a_changed_cache_is_refused_by_what_changed(finished: Path, cache: Path) -> None:
    path = finished / "fields.json"
    stored = path.read_text()
    path.write_text(stored.replace('"rgb/default": "', '"rgb/default": "0'))
    try:
        result = call("run", "--cache", cache, "--out", finished, *small())
    finally:
        path.write_text(stored)
    assert result.exit_code == 2 and "rgb/default" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cache", "nowhere"], "no cache at nowhere"),
        ([], "--cache"),
        (["--cache", "CACHE", "--protocol", "xview"], "xview"),
        (["--cache", "CACHE", "--backbone", "resnet"], "ctrgcn"),
        (["--cache", "CACHE", "--stream", "elbow"], "bone_motion"),
        (["--cache", "CACHE", "--preset", "best"], "ntu120-mmcl"),
        (["--cache", "CACHE", "--set", "train.device=cuda:99"], "train.device"),
        (["--cache", "CACHE", "--set", "train.batch=500"], "train.batch is 500"),
        (["--cache", "CACHE", "--set", "data.rgb_variant=inception"], "rgb/inception"),
        (["--cache", "CACHE", "--set", "data.text_variant=llava"], "text/llava"),
        (["--cache", "CACHE", "--set", "data.skeleton_variant=raw"], "skeleton/raw"),
        (["--cache", "CACHE", "--set", "method.rgb=online"], "strip/default"),
        (["--cache", "CACHE", "--set", "data.rgb_feature=pooled"], "data.rgb_feature=logits"),
        (["--cache", "CACHE", "--set", "clip.transform=warp"], "crop-resize"),
        (["--cache", "CACHE", "--set", "model.init=nowhere"], "nowhere"),
        (["--cache", "CACHE", "--set", "train.trackers=papyrus"], "train.trackers"),
        (["--cache", "CACHE", "--config", "a.json", "--preset", "demo"], "one of them"),
        (["--cache", "CACHE", "--set", "train.bacth=5"], "train.batch"),
        (["--cache", "CACHE", "--config", "nowhere.json"], "nowhere.json"),
        (["--cache", "CACHE", "--out", "FULL"], "not empty"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    places = {"CACHE": str(cache), "FULL": str(tmp_path / "full")}
    result = call(
        "run", "--quiet", *small(), "--out", tmp_path / "out", *(places.get(a, a) for a in arguments)
    )
    assert result.exit_code == 2, result.output
    assert (
        said in result.stderr and result.stderr.count("\n") == 1 and result.stderr.startswith("mmcl-train: ")
    )


def test_classes_that_differ_are_named(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learnable_cache, "CLASSES", ("still", "wave", "raise", "kick"))
    other = make_cache(tmp_path / "other").path
    wrong = [
        call("eval", "--run", finished, "--cache", other, "--device", "cpu"),
        call("run", "--quiet", "--cache", other, "--out", finished, *small()),
    ]
    run = call("run", "--cache", other, "--out", tmp_path / "run", "--no-mmcl", *small())
    assert run.exit_code == 0, run.output
    wrong += [
        call("ensemble", finished, tmp_path / "run"),
        call("compare", finished, "--against", tmp_path / "run"),
    ]
    for result in wrong:
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith("mmcl-train: ") and result.stderr.count("\n") == 1
    assert "kick" in wrong[0].stderr and "kick" in wrong[2].stderr and "kick" in wrong[3].stderr


def test_co_learning_without_text_or_rgb_says_what_to_do(tmp_path: Path) -> None:
    bare = make_cache(tmp_path / "bare", co_learning=False).path
    result = call("run", "--cache", bare, "--out", tmp_path / "out", *small())
    assert result.exit_code == 2 and "--no-mmcl" in result.stderr
    result = call("run", "--cache", bare, "--no-mmcl", "--out", tmp_path / "out", *small())
    assert result.exit_code == 0, result.output


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    cache: Path, tmp_path: Path
) -> None:
    result = call(
        "run", "--cache", cache, "--out", tmp_path / "out", *small("schedule.epochs=9", "optimiser.lr=1e9")
    )
    assert result.exit_code == 2 and "not finite" in result.stderr and "of samples S" in result.stderr
    assert not (tmp_path / "out" / "result.json").exists()
    result = call("run", "--cache", cache, "--out", tmp_path / "out", *small("schedule.epochs=9"))
    assert result.exit_code == 2 and "optimiser.lr: 1000000000.0 → 0.05" in result.stderr


@pytest.mark.parametrize("what", ["presets", "backbones", "streams", "settings"])
def test_lists_name_what_there_is(what: str) -> None:
    result = call("list", what)
    known = {
        "presets": "ntu120-mmcl",
        "backbones": "ctrgcn",
        "streams": "bone_motion",
        "settings": "train.batch",
    }
    assert result.exit_code == 0 and known[what] in result.output


def test_bench_measures_every_pair_in_one_run() -> None:
    result = call(
        *("bench", "--samples", 16, "--batch", 2, "--rounds", 1, "--device", "cpu", "--cnn", "small"),
        *("--set", "model.width=0.125", "--set", "clip.length=16"),
    )
    assert result.exit_code == 0, result.output
    pairs = ("co-learning : skeleton-only", "plain : ours", "one by one : at once", "online : cached")
    assert all(pair in result.output for pair in pairs) and "clips/s" in result.output
    assert " threads, load " in result.output
