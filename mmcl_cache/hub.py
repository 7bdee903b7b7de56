"""Caches as data set repositories of Hugging Face; nothing goes anywhere unless asked for by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import HfApi

from mmcl_cache.errors import CacheError, UserError
from mmcl_cache.store import open_cache, verify

Say = Callable[[int, int], None]
KIND = "dataset"
LEFT_HERE = [".*", "**/.*", "*.part", "**/*.part", "*.lock", "**/*.lock"]


class Hub(Protocol):
    """What is used of `huggingface_hub.HfApi`."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> Any: ...

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: str,
        repo_type: str,
        ignore_patterns: list[str],
        commit_message: str,
    ) -> Any: ...

    def snapshot_download(self, repo_id: str, *, repo_type: str, local_dir: str) -> Any: ...


def push_cache(
    path: Path, repo: str, private: bool, hub: Hub | None = None, say: Say = lambda done, total: None
) -> str:
    """Send a finished cache to a data set repository; gives a line that says so.

    Args:
        repo: "owner/name"; made where it is not there.
        hub: HfApi, which takes the token of `hf auth login`.
        say: called with the shards checked and their number.

    Raises:
        UserError: a cache that is unfinished or damaged, or a hub that cannot be reached or refuses.
    """
    check_cache(path, say)
    api: Hub = hub or HfApi()
    try:
        api.create_repo(repo, repo_type=KIND, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=str(path),
            repo_type=KIND,
            ignore_patterns=LEFT_HERE,
            commit_message=f"Cache {path.resolve().name}",
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{repo}: not sent ({str(error)[:200]}); `hf auth login` gives access") from None
    return f"{path} → {repo}; mind the terms of the data set: strips are pictures of people"


def pull_cache(repo: str, path: Path, hub: Hub | None = None, say: Say = lambda done, total: None) -> str:
    """Fetch a cache and check every byte of it; gives a line that says so.

    Raises:
        UserError: a folder that holds something else, no such repository, or one that is no intact cache.
    """
    if path.exists() and not (path / "cache.json").is_file() and (path.is_file() or any(path.iterdir())):
        raise UserError(f"{path} holds something else; name a new folder with --cache")
    api: Hub = hub or HfApi()
    try:
        api.snapshot_download(repo, repo_type=KIND, local_dir=str(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{repo}: not fetched ({str(error)[:200]})") from None
    check_cache(path, say)
    return f"{repo} → {path}; every byte is as it was written"


def check_cache(path: Path, say: Say = lambda done, total: None) -> None:
    """UserError where a cache is unfinished or altered."""
    cache = open_cache(path)
    for field, variants in cache.fields().items():
        for variant in variants:
            pending = cache.field(field, variant).pending()
            if pending:
                raise CacheError(
                    f"{path}: {field}/{variant} lacks {len(pending)} of {cache.num_shards} shards; finish it first"
                )
    problems = verify(cache, say)
    if problems:
        raise CacheError(f"{path}: {problems[0]}")
