"""Models that pages name by their hub ids, as small folders of random weights; data and caches of a dozen clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from transformers import BlipForQuestionAnswering

from mmcl_cache import hub as cache_hub
from mmcl_cache.encoders import loading
from mmcl_train.deploy import hub as run_hub
from tests.docs.world import World
from tests.mmcl_cache.encoders.conftest import save_blip, save_cnn, save_llava
from tests.mmcl_train.deploy.test_hub import FolderHub


@pytest.fixture(scope="session")
def hub_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind of model → folder."""
    root = tmp_path_factory.mktemp("models")
    return {
        "blip": save_blip(root / "blip", BlipForQuestionAnswering),
        "chat": save_llava(root / "chat"),
        "cnn": save_cnn(root / "cnn"),
    }


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def no_network(hub_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hub ids mean the small folders, and repositories are folders."""

    def fetch(model: str) -> Path:
        name = model.lower()
        kind = (
            "blip" if "blip" in name else "cnn" if any(w in name for w in ("resnet", "convnext")) else "chat"
        )
        return hub_models[kind]

    monkeypatch.setattr(loading, "_fetch_snapshot", fetch)
    folder_hub = FolderHub(tmp_path / "hub")
    for module in (cache_hub, run_hub):
        monkeypatch.setattr(module, "HfApi", lambda: folder_hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
