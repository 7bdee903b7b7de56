"""Training runs with an auxiliary objective, by their settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmcl_cache.store import open_cache
from mmcl_train.cli import cli
from mmcl_train.config import ModelConfig, RunConfig
from mmcl_train.engine.inputs import resolve
from mmcl_train.settings import set_value
from tests.mmcl_train.engine.learnable_cache import SMALL, make_cache


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("cache") / "cache").path


def run(cache: Path, out: Path, *settings: str) -> Result:
    given = [part for one in (*SMALL, "schedule.epochs=1", *settings) for part in ("--set", one)]
    return CliRunner().invoke(cli, ["run", "--cache", str(cache), "--out", str(out), *given])


def last_record(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])


def test_losses_are_reported_by_the_name_of_the_objective(cache: Path, tmp_path: Path) -> None:
    result = run(cache, tmp_path / "run", "method.auxiliary=frhead")
    assert result.exit_code == 0, result.output
    assert last_record(tmp_path / "run")["loss_frhead"] > 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["method"]["auxiliary_weight"] == 0.1  # as published, filled in
    weights = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert b"memory" not in weights and b"auxiliary" not in weights


def test_without_an_objective_none_is_reported(cache: Path, tmp_path: Path) -> None:
    assert run(cache, tmp_path / "run").exit_code == 0
    record = last_record(tmp_path / "run")
    assert {name for name in record if name.startswith("loss_")} == {
        "loss_classification",
        "loss_contrastive",
        "loss_refinement",
    }


def test_backbone_that_gives_no_graph_is_refused_in_one_line(cache: Path, tmp_path: Path) -> None:
    result = run(cache, tmp_path / "run", "method.auxiliary=skeletongcl", "model.backbone=stgcn")
    assert result.exit_code == 2 and "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert "STGCN gives no graph" in last and "method.auxiliary=none" in last


@pytest.mark.parametrize(
    ("backbone", "asked", "resolved"),
    [
        ("ctrgcn", "", ("none", 0.0)),
        ("infogcn", "", ("infogcn", 1.0)),
        ("protogcn", "", ("protogcn", 0.2)),
        ("infogcn", "none", ("none", 0.0)),
        ("ctrgcn", "skeletongcl", ("skeletongcl", 1.0)),
    ],
)
def test_a_backbone_brings_its_own_objective_unless_told_otherwise(
    backbone: str, asked: str, resolved: tuple[str, float], cache: Path
) -> None:
    config = set_value(RunConfig(model=ModelConfig(backbone=backbone)), "method.auxiliary", asked, "test")
    method = resolve(config, open_cache(cache).description).method
    assert (method.auxiliary, method.auxiliary_weight) == resolved
