from __future__ import annotations

import fnmatch
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcl_cache.hub import pull_cache, push_cache
from mmcl_cache.store import UserError, open_cache
from mmcl_train.deploy.hub import pull_run, push_run
from mmcl_train.deploy.prediction import predict_paths
from mmcl_train.deploy.torch_model import TorchModel
from tests.mmcl_train.data.small_cache import make_cache
from tests.mmcl_train.deploy.small_run import make_run


class FolderHub:
    """Repositories in a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.private = root, None

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> None:
        if repo_id.count("/") != 1:
            raise ValueError(f"{repo_id} is no repository")
        self.private = private
        (self.root / repo_type / repo_id).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id: str, folder_path: str, repo_type: str, **options: Any) -> None:
        ignored = options.get("ignore_patterns", [])
        for file in Path(folder_path).rglob("*"):
            name = str(file.relative_to(folder_path))
            if file.is_file() and not any(fnmatch.fnmatch(name, pattern) for pattern in ignored):
                target = self.root / repo_type / repo_id / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)

    def snapshot_download(self, repo_id: str, *, repo_type: str, local_dir: str) -> None:
        source = self.root / repo_type / repo_id
        if not source.is_dir():
            raise OSError(f"404: no repository {repo_id}")
        shutil.copytree(source, local_dir, dirs_exist_ok=True)


@pytest.fixture
def hub(tmp_path: Path) -> FolderHub:
    return FolderHub(tmp_path / "hub")


def test_a_cache_comes_back_as_it_was_sent(hub: FolderHub, tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache")
    (cache.path / ".hidden").touch()
    push_cache(cache.path, "me/cache", True, hub)
    assert hub.private and not (hub.root / "dataset" / "me" / "cache" / ".hidden").exists()
    assert "every byte" in pull_cache("me/cache", tmp_path / "again", hub)
    there = open_cache(tmp_path / "again")
    assert there.fields() == cache.fields()
    assert there.field("skeleton").fingerprint == cache.field("skeleton").fingerprint


def test_an_unfinished_cache_is_not_sent(hub: FolderHub, tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache")
    (cache.path / "rgb" / "default" / "00001.json").unlink()
    with pytest.raises(UserError, match="rgb/default lacks 1 of 3 shards"):
        push_cache(cache.path, "me/cache", True, hub)


def test_a_cache_altered_on_the_way_is_refused(hub: FolderHub, tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache")
    push_cache(cache.path, "me/cache", True, hub)
    shard = hub.root / "dataset" / "me" / "cache" / "skeleton" / "default" / "00000.h5"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError):
        pull_cache("me/cache", tmp_path / "again", hub)


def test_a_run_comes_back_as_a_model_that_predicts(hub: FolderHub, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "large.bin").touch()
    said = push_run(run, "me/model", False, hub)
    assert "README.md" in said and "large.bin" not in said and hub.private is False
    assert "ctrsgcn, 7 classes, ntu25" in pull_run("me/model", tmp_path / "again", hub)
    np.save(tmp_path / "poses.npy", np.random.default_rng(0).normal(0, 1, (30, 25, 3)))
    logits = [
        next(predict_paths(TorchModel(folder), [tmp_path / "poses.npy"], 0, 1)).logits
        for folder in (run, tmp_path / "again")
    ]
    assert np.array_equal(*logits)


def test_a_repository_that_is_not_there_and_a_folder_in_use_are_said(hub: FolderHub, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="404"):
        pull_run("me/nothing", tmp_path / "out", hub)
    with pytest.raises(UserError, match="not sent"):
        push_run(make_run(tmp_path / "run"), "nobody", True, hub)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    with pytest.raises(UserError, match="holds something else"):
        pull_run("me/nothing", tmp_path / "full", hub)
    with pytest.raises(UserError, match="holds something else"):
        pull_cache("me/nothing", tmp_path / "full", hub)
