"""Fitting a CNN sees the training split alone and gives a folder that a build takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from mmcl_cache.build import run_build
from mmcl_cache.cli import main
from mmcl_cache.config import BuildConfig
from mmcl_cache.encoders import open_image_encoder
from mmcl_cache.fit_cnn import FITTED_ON, _mirror_tiles
from mmcl_cache.store import open_cache
from mmcl_cache.store.field import Field


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cnn")
    torch.manual_seed(0)
    shape = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=7
    )
    ResNetForImageClassification(shape).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def cache(generated_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("strips") / "cache"
    config = BuildConfig("demo", generated_clips, path, fields=("strip",), workers=0, shard_size=4)
    run_build(config, quiet=True)
    return path


def fit(cache: Path, cnn: Path, out: Path, *options: str) -> Result:
    words = ["--cache", str(cache), "--cnn", str(cnn), "--out", str(out), "--quiet", *options]
    return CliRunner().invoke(main, ["fit-cnn", *words])


def test_no_test_id_is_ever_asked_of_the_cache(
    cache: Path, cnn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    load = Field.load

    def watch(self: Field, sample_ids: object, *more: object) -> object:
        asked.extend(str(i) for i in sample_ids)  # type: ignore[attr-defined]
        return load(self, sample_ids, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Field, "load", watch)
    assert fit(cache, cnn, tmp_path / "out", "--protocol", "xsub", "--epochs", "1").exit_code == 0
    samples = open_cache(cache).samples
    assert asked and set(asked) == set(samples.select("xsub", "train").tolist())
    assert not set(asked) & set(samples.select("xsub", "test").tolist())


def test_fitted_folder_is_an_encoder_whose_settings_tell_what_it_saw(
    cache: Path, cnn: Path, tmp_path: Path
) -> None:
    done = fit(cache, cnn, tmp_path / "out", "--protocol", "xsub", "--epochs", "2", "--batch-size", "4")
    assert done.exit_code == 0 and "--variant rgb=fitted" in done.output, done.output
    told = json.loads((tmp_path / "out" / FITTED_ON).read_text())
    assert (told["protocol"], told["split"], told["dataset"]) == ("xsub", "train", "demo")
    before = open_image_encoder(str(tmp_path / "out")).settings
    assert open_image_encoder(str(tmp_path / "out")).columns[0].shape == (16,)
    (tmp_path / "out" / FITTED_ON).write_text(json.dumps({**told, "protocol": "xview"}))
    after = open_image_encoder(str(tmp_path / "out")).settings
    assert before["files_sha256"] != after["files_sha256"]
    assert before["weights_sha256"] == after["weights_sha256"]


def test_same_seed_fits_the_same_weights(cache: Path, cnn: Path, tmp_path: Path) -> None:
    weights = []
    for name in ("a", "b"):
        assert fit(cache, cnn, tmp_path / name, "--protocol", "xview", "--epochs", "1").exit_code == 0
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol", "xset"], "no protocol 'xset'; it has: xsub, xview"),
        (["--protocol", "xsub", "--epochs", "0"], "--epochs 0"),
        (["--protocol", "xsub", "--cnn", "inception_v3"], "classifier of transformers"),
        (["--protocol", "xsub", "--out", "{cnn}"], "not empty"),
    ],
)
def test_mistake_is_one_line(
    cache: Path, cnn: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    done = fit(cache, cnn, tmp_path / "out", *(o.format(cnn=cnn) for o in options))
    assert done.exit_code == 2 and message in done.output.strip().splitlines()[-1], done.output


def test_mirrored_tiles_stay_in_time_order() -> None:
    strip = torch.arange(6).reshape(1, 6, 1).expand(2, 6, 3).numpy()
    assert _mirror_tiles(strip, 3)[0, :, 0].tolist() == [1, 0, 3, 2, 5, 4]
