from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mmcl_train.cli import cli
from tests.mmcl_train.deploy.small_run import make_run
from tests.mmcl_train.engine.learnable_cache import make_cache

ROOT = Path(__file__).resolve().parents[3]


def call(*arguments: object, standard_input: str | None = None) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=standard_input)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "small", classes=4)


@pytest.fixture
def poses(tmp_path: Path) -> Path:
    np.save(tmp_path / "poses.npy", np.random.default_rng(0).normal(0, 1, (30, 25, 3)))
    return tmp_path / "poses.npy"


def test_json_lines_name_the_top_classes_with_probabilities(run: Path, poses: Path) -> None:
    result = call("predict", poses, "--model", run, "--top", 9)
    line = json.loads(result.output)
    assert (line["input"], line["start"], line["stop"]) == (str(poses), 0, 30)
    assert len(line["top"]) == 4 and line["class"] == line["top"][0]["class"]
    assert sum(each["probability"] for each in line["top"]) == pytest.approx(1, abs=1e-4)


def test_a_table_has_one_line_a_window(run: Path, poses: Path) -> None:
    result = call("predict", poses, "--model", run, "--table", "--top", 2, "--window", 10, "--hop", 8)
    spans = [line.split("  ")[1].strip() for line in result.output.splitlines()]
    assert result.exit_code == 0 and len(spans) == 4 and "20–30" in result.output


def test_a_cache_is_predicted_by_split(run: Path, tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", co_learning=False)
    result = call("predict", cache.path, "--model", run, "--split", "test")
    assert result.exit_code == 0 and len(result.output.splitlines()) == 16
    assert len(call("predict", cache.path, "--model", run).output.splitlines()) == 48


def test_standard_input_is_answered_frame_by_frame(run: Path) -> None:
    frames = np.random.default_rng(0).normal(0, 1, (12, 25, 3))
    text = "\n".join(json.dumps(frame.tolist()) for frame in frames)
    result = call("predict", "-", "--model", run, "--window", 8, "--hop", 2, standard_input=text)
    assert [json.loads(line)["stop"] for line in result.output.splitlines()] == [8, 10, 12]


def test_one_bad_file_does_not_stop_the_others(run: Path, poses: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.skeleton").write_text("3\n1\n")
    result = call("predict", tmp_path / "bad.skeleton", poses, "--model", run)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines[0]["label"] is None and "cut short" in lines[0]["reason"] and lines[1]["label"] is not None
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and "1 of 2" in result.stderr


def test_prediction_imports_no_text_model_and_no_video_reader(run: Path, poses: Path) -> None:
    code = """
import sys
from mmcl_train.cli import cli
cli(sys.argv[1:], standalone_mode=False)
found = [n for n in sys.modules if n.split(".")[0] in ("transformers", "av", "decord", "timm", "torchvision")]
found += [n for n in sys.modules if n.startswith(("mmcl_cache.encoders", "mmcl_cache.video", "mmcl_cache.datasets"))]
assert not found, found
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", str(poses), "--model", str(run)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to predict"),
        (["EMPTY"], "nothing to predict"),
        (["nowhere.npy"], "no such file"),
        (["POSES", "--split", "test"], "--split is of a cache"),
        (["POSES", "--window", "31"], "30 frames, fewer than --window 31"),
        (["OTHER"], "(4, 17, 3)"),
        (["LETTER"], "not a skeleton file"),
        (["POSES", "--model", "EMPTY"], "model.json"),
        (["POSES", "--model", "LETTER"], "--model takes"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, run: Path, poses: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "letter.txt").touch()
    np.save(tmp_path / "other.npy", np.ones((4, 17, 3)))
    places = {
        "EMPTY": tmp_path / "empty",
        "POSES": poses,
        "OTHER": tmp_path / "other.npy",
        "LETTER": tmp_path / "letter.txt",
    }
    result = call("predict", "--model", run, *(places.get(a, a) for a in arguments))
    assert result.exit_code == 2, result.output
    assert said in result.stderr and result.stderr.count("\n") == 1, result.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [("", "nothing to predict"), ("{", "line 1"), ("[[1, 2, 3]]", "(1, 3)"), ("7", "line 1")],
)
def test_a_line_that_is_no_frame_is_one_line(line: str, said: str, run: Path) -> None:
    result = call("predict", "-", "--model", run, standard_input=line)
    assert result.exit_code == 2 and said in result.stderr and result.stderr.count("\n") == 1, result.stderr


def test_a_cache_of_another_layout_is_one_line(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", co_learning=False)
    result = call("predict", cache.path, "--model", make_run(tmp_path / "run", "utd-mhad20"))
    assert result.exit_code == 2 and "the model takes utd-mhad20" in result.stderr
