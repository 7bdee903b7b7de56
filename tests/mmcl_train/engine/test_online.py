"""A CNN trained in the loop from the cached strips, through the command line."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmcl_train.cli import cli
from mmcl_train.engine.checkpoint import list_checkpoints, read_checkpoint
from tests.mmcl_train.engine.learnable_cache import SMALL, make_cache


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("strips") / "cache", strips=True).path


def run(cache: Path, out: Path, *settings: str) -> Result:
    chosen = (*SMALL, "schedule.epochs=1", "train.test_batch=16", "method.rgb=online", *settings)
    options = [part for setting in chosen for part in ("--set", setting)]
    return CliRunner().invoke(cli, ["run", "--cache", str(cache), "--out", str(out), *options])


def test_the_cnn_learns_in_the_loop_and_leaves_no_trace_in_the_model(cache: Path, tmp_path: Path) -> None:
    done = run(cache, tmp_path / "run", "method.cnn=small", "schedule.epochs=2")
    assert done.exit_code == 0, done.output
    assert "strips: decoded once and kept, 79.2% of the samples have one" in done.output
    checkpoints = [read_checkpoint(path) for path in list_checkpoints(tmp_path / "run" / "checkpoints")]
    before, after = (each.task["cnn.network.0.weight"] for each in checkpoints)
    assert not before.equal(after)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(record["loss_contrastive"] > 0 and 0.7 < record["usable_rgb"] < 0.9 for record in records)
    assert b"cnn." not in (tmp_path / "run" / "model.safetensors").read_bytes()[:20000]


def test_without_strips_the_line_names_the_field(tmp_path: Path) -> None:
    done = run(make_cache(tmp_path / "cache").path, tmp_path / "run", "method.cnn=small")
    assert done.exit_code == 2 and "no strip/default" in done.stderr and done.stderr.count("\n") == 1


def test_without_its_library_inception_is_one_line(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> object:
        if name.split(".")[0] in ("timm", "torchvision"):
            raise ImportError(f"No module named {name!r}")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    done = run(cache, tmp_path / "run")
    assert done.exit_code == 2 and "pip install timm" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
