"""Commands of `mmcl-cache` that send and fetch caches."""

from __future__ import annotations

from pathlib import Path

import click

from mmcl_cache.terminal.cli_options import hide_foreign_bars, progress_options
from mmcl_cache.terminal.events import finish

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("cache", type=PATH)
@click.argument("repo", metavar="OWNER/NAME")
@click.option("--public", is_flag=True, help="Readable by everyone.  [default: private]")
@progress_options
def push(cache: Path, repo: str, public: bool) -> None:
    """Send a finished CACHE to a Hugging Face data set repository."""
    hide_foreign_bars()
    from mmcl_cache.hub import push_cache
    from mmcl_cache.terminal.board import StageProgress

    with StageProgress("verify", "shards") as say:
        text = push_cache(cache, repo, not public, say=say)
    finish("push", text, {"cache": str(cache), "repo": repo})


@click.command()
@click.argument("repo", metavar="OWNER/NAME")
@click.option("--cache", type=PATH, required=True, help="Folder to write.")
@progress_options
def pull(repo: str, cache: Path) -> None:
    """Fetch a cache from a Hugging Face data set repository and check it."""
    hide_foreign_bars()
    from mmcl_cache.hub import pull_cache
    from mmcl_cache.terminal.board import StageProgress

    with StageProgress("verify", "shards") as say:
        text = pull_cache(repo, cache, say=say)
    finish("pull", text, {"cache": str(cache), "repo": repo})


COMMANDS = (push, pull)
