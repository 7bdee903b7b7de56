"""Commands of `mmcl-cache` that send and fetch caches."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("cache", type=PATH)
@click.argument("repo", metavar="OWNER/NAME")
@click.option("--public", is_flag=True, help="Readable by everyone.  [default: private]")
def push(cache: Path, repo: str, public: bool) -> None:
    """Send a finished CACHE to a Hugging Face data set repository."""
    from mmcl_cache.hub import push_cache

    click.echo(push_cache(cache, repo, not public))


@click.command()
@click.argument("repo", metavar="OWNER/NAME")
@click.option("--cache", type=PATH, required=True, help="Folder to write.")
def pull(repo: str, cache: Path) -> None:
    """Fetch a cache from a Hugging Face data set repository and check it."""
    from mmcl_cache.hub import pull_cache

    click.echo(pull_cache(repo, cache))


COMMANDS = (push, pull)
