"""Models that cannot be had, and what identifies those that can."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import errors

from mmcl_cache.encoders import open_text_encoder
from mmcl_cache.encoders.loading import find_model, hash_model
from mmcl_cache.errors import ModelError

from .conftest import save_cnn

SNAPSHOT = "mmcl_cache.encoders.loading.huggingface_hub.snapshot_download"


def test_a_folder_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ModelError, match="no such model folder"):
        find_model("./models/blip", "vqa")
    with pytest.raises(ModelError, match="no such model folder"):
        find_model("/models/of/somebody/blip", "vqa")


def test_a_folder_without_config_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        find_model(str(tmp_path), "vqa")


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (errors.LocalEntryNotFoundError("cannot find it"), "hub cannot be reached"),
        (errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE"),
        (OSError("connection reset\nby peer"), "connection reset"),
    ],
)
def test_a_hub_that_does_not_answer_is_one_line(monkeypatch, failure: Exception, message: str) -> None:
    def refuse(*args: object, **options: object) -> str:
        raise failure

    monkeypatch.setattr(SNAPSHOT, refuse)
    with pytest.raises(ModelError, match=message) as error:
        find_model("someone/some-model", "vqa")
    assert "someone/some-model" in str(error.value) and "\n" not in str(error.value)


def test_a_name_the_hub_does_not_know_is_one_line(monkeypatch) -> None:
    def refuse(*args: object, **options: object) -> str:
        error = errors.RepositoryNotFoundError.__new__(errors.RepositoryNotFoundError)
        Exception.__init__(error, "401\nlong text")
        error.response = SimpleNamespace(status_code=401)
        raise error

    monkeypatch.setattr(SNAPSHOT, refuse)
    with pytest.raises(ModelError, match="status 401"):
        find_model("someone/some-model", "vqa")


def test_a_hub_id_is_read_from_its_snapshot(monkeypatch, blip_folder: Path) -> None:
    monkeypatch.setattr(SNAPSHOT, lambda name, allow_patterns: str(blip_folder))
    encoder = open_text_encoder("someone/blip", ["what object is held?"], device="cpu")
    assert encoder.info["model"] == "someone/blip"
    assert (
        encoder.settings
        == open_text_encoder(str(blip_folder), ["what object is held?"], device="cpu").settings
    )


def test_the_hash_follows_content_not_place_or_side_files(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    save_cnn(one), save_cnn(other)
    (other / "README.md").write_text("a model")
    assert hash_model(one) == hash_model(other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "hidden_act": "gelu"}))
    assert hash_model(one)["weights"] == hash_model(other)["weights"]
    assert hash_model(one)["files"] != hash_model(other)["files"]
    weights = bytearray((one / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (one / "model.safetensors").write_bytes(weights)
    assert hash_model(one)["weights"] != hash_model(other)["weights"]


def test_broken_and_missing_weights_are_one_line(blip_folder: Path, tmp_path: Path) -> None:
    for path in blip_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(ModelError, match="cannot be loaded") as error:
        open_text_encoder(str(tmp_path), ["what object is held?"], device="cpu")
    assert "\n" not in str(error.value)
    weights.unlink()
    with pytest.raises(ModelError):
        open_text_encoder(str(tmp_path), ["what object is held?"], device="cpu")


def test_a_model_with_code_of_its_own_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "minimy", "auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"}})
    )
    (tmp_path / "code.py").write_text("raise SystemExit('run')\n")
    with pytest.raises(ModelError, match="Python code of its own"):
        open_text_encoder(str(tmp_path), ["what?"], device="cpu")


def test_a_model_of_a_kind_transformers_does_not_know_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "minimy"}))
    with pytest.raises(ModelError, match="cannot be loaded") as error:
        open_text_encoder(str(tmp_path), ["what?"], device="cpu")
    assert "\n" not in str(error.value)
    (tmp_path / "config.json").write_text("{ broken")
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_text_encoder(str(tmp_path), ["what?"], device="cpu")
