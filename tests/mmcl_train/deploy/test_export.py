from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mmcl_train.backbones import BACKBONES
from mmcl_train.cli import cli
from mmcl_train.data.clips import ClipSettings
from mmcl_train.engine.checkpoint import pack
from tests.mmcl_train.deploy.small_run import describe, make_model, make_run
from tests.mmcl_train.engine.learnable_cache import make_cache

pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

from mmcl_train.deploy.onnx_file import TOLERANCE, compare, quantise
from mmcl_train.deploy.onnx_graph import convert
from mmcl_train.deploy.onnx_model import OnnxModel

ROOT = Path(__file__).resolve().parents[3]
QUICK = "ctrsgcn"  # always exported; the others, 10 to 60 s each, are marked slow


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "small", classes=4)


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    result = call("export", run)
    assert result.exit_code == 0, result.output
    return run / "export" / "small.onnx"


@pytest.mark.parametrize(
    "backbone",
    [pytest.param(name, marks=[] if name == QUICK else pytest.mark.slow) for name in sorted(BACKBONES)],
)
def test_onnx_equals_pytorch_for_any_batch(backbone: str, tmp_path: Path) -> None:
    channels = 12 if backbone.startswith("psumnet") else 3
    about = describe(backbone=backbone, in_channels=channels, width=0.25)
    model = make_model(about)
    (tmp_path / "model.onnx").write_bytes(convert(model, about))
    assert compare(model, OnnxModel(tmp_path / "model.onnx", threads=1)) < TOLERANCE


def test_the_file_knows_its_classes_and_layout(exported: Path) -> None:
    model = OnnxModel(exported, threads=1)
    assert model.input.classes == ("class 0", "class 1", "class 2", "class 3")
    assert model.input.layout.name == "ntu25" and model.input.skeleton["format"] == "ntu-skeleton"


def test_int8_keeps_the_metadata_and_nearly_the_logits(exported: Path, run: Path, tmp_path: Path) -> None:
    quantise(exported, tmp_path / "small.onnx")
    small, full = OnnxModel(tmp_path / "small.onnx", 1), OnnxModel(exported, 1)
    assert small.input == full.input
    joints = np.random.default_rng(0).normal(0, 1, (4, *full.input.shape)).astype(np.float32)
    ours, theirs = small.compute_logits(joints), full.compute_logits(joints)
    assert np.abs(ours - theirs).max() < 0.1 * max(np.abs(theirs).max(), 1)
    assert (tmp_path / "small.onnx").stat().st_size < exported.stat().st_size


def test_int8_says_what_it_costs(run: Path, tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", co_learning=False)
    result = call("export", run, "--int8", "--cache", cache.path, "--out", tmp_path / "small.onnx")
    assert result.exit_code == 0, result.output
    assert "fp32 on" in result.output and "int8 on" in result.output and "points" in result.output
    assert "16 samples" in result.output


def test_an_onnx_model_predicts_without_torch(exported: Path, run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "poses.npy", np.random.default_rng(0).normal(0, 1, (30, 25, 3)))
    code = """
import sys
for name in ("torch", "transformers", "av", "decord", "accelerate"):
    sys.modules[name] = None
from mmcl_train.cli import cli
cli(sys.argv[1:], standalone_mode=False)
"""
    arguments = ["predict", str(tmp_path / "poses.npy"), "--logits", "--model"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, str(exported)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    with_torch = call(*arguments, run)
    ours, theirs = (json.loads(text)["logits"] for text in (done.stdout, with_torch.output))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_file_of_another_maker_is_one_line(exported: Path, tmp_path: Path) -> None:
    import onnx

    other = onnx.load(str(exported))
    del other.metadata_props[:]
    onnx.save(other, str(tmp_path / "other.onnx"))
    (tmp_path / "broken.onnx").write_bytes(exported.read_bytes()[:500])
    np.save(tmp_path / "poses.npy", np.ones((30, 25, 3)))
    for name, said in (
        ("other.onnx", "not made by"),
        ("broken.onnx", "cannot read"),
        ("no.onnx", "no such file"),
    ):
        result = call("predict", tmp_path / "poses.npy", "--model", tmp_path / name)
        assert result.exit_code == 2 and said in result.stderr and result.stderr.count("\n") == 1, (
            result.stderr
        )


def test_a_safetensors_folder_predicts_as_its_run_and_has_a_card(run: Path, tmp_path: Path) -> None:
    (run / "result.json").write_text(
        json.dumps(
            {"accuracy": {"test-last": {"count": 16, "top1": 0.5, "top5": 1.0}}, "epochs": 3, "val": "none"}
        )
    )
    result = call("export", run, "--format", "safetensors", "--out", tmp_path / "folder")
    assert result.exit_code == 0, result.output
    card = (tmp_path / "folder" / "README.md").read_text()
    assert "| test | 16 | 50.00 | 100.00 |" in card and "3. class 3" in card and "## Licence" in card
    np.save(tmp_path / "poses.npy", np.random.default_rng(0).normal(0, 1, (30, 25, 3)))
    outputs = [
        call("predict", tmp_path / "poses.npy", "--model", m).output for m in (run, tmp_path / "folder")
    ]
    assert outputs[0] == outputs[1]


def test_a_folder_with_other_files_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    result = call("export", run, "--format", "safetensors", "--out", tmp_path)
    assert result.exit_code == 2 and "letter.txt" in result.stderr
    result = call("export", tmp_path)
    assert result.exit_code == 2 and "model.json" in result.stderr and result.stderr.count("\n") == 1


def test_a_file_says_nothing_of_the_machine_that_made_it(exported: Path) -> None:
    content = exported.read_bytes()
    for told in (str(ROOT), "stack_trace", "site-packages", sys.prefix):
        assert told.encode() not in content, told


@pytest.mark.slow
def test_tables_of_shifts_are_computed_and_not_stored(tmp_path: Path) -> None:
    about = describe(backbone="shiftgcn", width=1.0, clip=ClipSettings(length=64))
    model = make_model(about)
    (tmp_path / "model.onnx").write_bytes(convert(model, about))
    assert compare(model, OnnxModel(tmp_path / "model.onnx", threads=1)) < TOLERANCE
    assert (tmp_path / "model.onnx").stat().st_size < 1.25 * len(pack(model.state_dict()))
