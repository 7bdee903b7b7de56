"""Runs as model repositories of Hugging Face; nothing goes anywhere unless asked for by name."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import HfApi

from mmcl_cache.store import UserError

from .export import export_safetensors
from .model_input import read_input

KIND = "model"
BESIDE = ("result.json", "config.json")  # sent where the run has them


class Hub(Protocol):
    """What is used of `huggingface_hub.HfApi`."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> Any: ...

    def upload_folder(
        self, *, repo_id: str, folder_path: str, repo_type: str, commit_message: str
    ) -> Any: ...

    def snapshot_download(self, repo_id: str, *, repo_type: str, local_dir: str) -> Any: ...


def push_run(run: Path, repo: str, private: bool, hub: Hub | None = None) -> str:
    """Send a run's model, card, result and settings, and its exported .onnx files; gives a line that says so.

    Checkpoints, logs and scores stay here.

    Args:
        repo: "owner/name"; made where it is not there.
        hub: HfApi, which takes the token of `hf auth login`.

    Raises:
        UserError: no finished run, or a hub that cannot be reached or refuses.
    """
    api: Hub = hub or HfApi()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / repo.rpartition("/")[2]
        for _ in export_safetensors(run, folder):
            pass
        for file in [run / name for name in BESIDE] + sorted((run / "export").glob("*.onnx")):
            if file.is_file():
                shutil.copy(file, folder)
        try:
            api.create_repo(repo, repo_type=KIND, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repo,
                folder_path=str(folder),
                repo_type=KIND,
                commit_message=f"Run {run.resolve().name}",
            )
        except (OSError, ValueError) as error:
            raise UserError(f"{repo}: not sent ({str(error)[:200]}); `hf auth login` gives access") from None
        names = ", ".join(sorted(file.name for file in folder.iterdir()))
    return f"{run} → {repo}: {names}"


def pull_run(repo: str, out: Path, hub: Hub | None = None) -> str:
    """Fetch a model into a folder that predict, export, transfer and eval read; gives a line that says so.

    Raises:
        UserError: a folder that holds something else, no such repository, or one without a model of ours.
    """
    if out.exists() and not (out / "model.json").is_file() and (out.is_file() or any(out.iterdir())):
        raise UserError(f"{out} holds something else; name a new folder with --out")
    api: Hub = hub or HfApi()
    try:
        api.snapshot_download(repo, repo_type=KIND, local_dir=str(out))
    except (OSError, ValueError) as error:
        raise UserError(f"{repo}: not fetched ({str(error)[:200]})") from None
    model = read_input(out)
    return f"{repo} → {out}: {model.backbone}, {len(model.classes)} classes, {model.layout.name}"
