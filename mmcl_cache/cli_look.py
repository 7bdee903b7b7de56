"""Commands of `mmcl-cache` that look at caches: status, verify, repair, gallery, list."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mmcl_cache.cli_keep import source_options, verify_source
from mmcl_cache.errors import UserError
from mmcl_cache.terminal.cli_options import progress_options
from mmcl_cache.terminal.events import finish, tell


@click.command()
@click.argument("cache", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--rows", is_flag=True, help="Every row that is not ok, not only the first of each reason.")
def status(cache: Path, as_json: bool, rows: bool) -> None:
    """What CACHE holds: shards, rows, what is missing and why."""
    print_status(cache, as_json, rows)


@click.command()
@click.argument("cache", type=click.Path(path_type=Path))
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="Folder of the data set's files, to compare with those CACHE was made from.",
)
@source_options
@progress_options
def verify(
    cache: Path,
    source: Path | None,
    video: str,
    layout: str | None,
    csv: Path | None,
    follow_links: bool,
) -> None:
    """Read every byte of CACHE and compare it with what was written.

    With --source also the files it was made from: which are other ones now, which are gone.
    """
    from mmcl_cache.datasets import ScanOptions
    from mmcl_cache.store import field_status, open_cache
    from mmcl_cache.store import verify as verify_cache
    from mmcl_cache.terminal.board import StageProgress

    opened = open_cache(cache)
    with StageProgress("verify", "shards") as say:
        problems = verify_cache(opened, say)
    for problem in problems:
        tell({"event": "problem", "text": problem})
    if problems:
        raise UserError(
            f"{cache}: {len(problems)} problem{'s' * (len(problems) > 1)}; nothing of them is ever trained on"
        )
    counts = [field_status(opened.field(f, v)) for f, variants in opened.fields().items() for v in variants]
    done, pending = sum(c.shards_done for c in counts), sum(c.shards - c.shards_done for c in counts)
    more = f"; {pending} are not built yet" if pending else ""
    numbers = {"cache": str(cache), "shards_done": done, "shards_pending": pending}
    finish("verify", f"{cache}: {done} finished shards, every byte as it was written{more}", numbers)
    if source is not None:
        verify_source(opened, source, ScanOptions(video, layout, csv, follow_links))


@click.command()
@click.argument("cache", type=click.Path(path_type=Path))
def repair(cache: Path) -> None:
    """Remove exactly the damaged shards of CACHE; the same `build` then makes them again."""
    from mmcl_cache.store import open_cache
    from mmcl_cache.store import repair as repair_cache

    removed, left = repair_cache(open_cache(cache))
    for problem in left:
        click.echo(problem, err=True)
    if left:
        raise UserError(
            f"{cache}: {len(left)} field descriptions are damaged; restore them or build into another --cache"
        )
    then = "; run the same `mmcl-cache build` to make them again" if removed else ""
    click.echo(f"{cache}: {removed} damaged shards removed{then}")


@click.command()
@click.argument("cache", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Page to write.  [default: gallery.html]"
)
@click.option("--sample", "samples", multiple=True, metavar="ID", help="Only these samples.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Only these classes: name or label.")
@click.option("--split", default="", metavar="PROTOCOL:SPLIT", help="Only one split, such as xsub:test.")
@click.option("--answer", default="", metavar="TEXT", help="Only samples with this answer.")
@click.option(
    "--status", default="", metavar="NAME", help="Only rows that are ok, absent, failed or pending."
)
@click.option("--limit", default=1000, metavar="N", help="Most samples to picture, spread over the classes.")
@click.option(
    "--variant", "variants", multiple=True, metavar="FIELD=NAME", help="Of this field only this variant."
)
def gallery(
    cache: Path,
    out: Path | None,
    samples: tuple[str, ...],
    classes: tuple[str, ...],
    split: str,
    answer: str,
    status: str,
    limit: int,
    variants: tuple[str, ...],
) -> None:
    """A page to look at CACHE: strips, questions, answers, skeletons, and what is missing."""
    from mmcl_cache.gallery import GallerySettings, write_gallery
    from mmcl_cache.store import open_cache

    path = out or Path("gallery.html")
    settings = GallerySettings(
        samples, classes, split, answer, status, limit, variants=named_variants(variants)
    )
    made = write_gallery(open_cache(cache), path, settings)
    size = path.stat().st_size / 1e6
    click.echo(f"{path}: {len(made.shown)} of {len(made.selected)} samples pictured, {size:.1f} MB")


@click.command(name="list")
def list_names() -> None:
    """The data sets this version knows."""
    from mmcl_cache.datasets import DATASETS

    for name, scan in sorted(DATASETS.items()):
        click.echo(f"{name:12} {(scan.__doc__ or '').strip().splitlines()[0]}")


def named_variants(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name or not value:
            raise UserError(f"--variant {pair}: say FIELD=NAME, such as text=blip-large")
        found[name] = value
    return found


def print_status(path: Path, as_json: bool = False, rows: bool = False) -> None:
    from mmcl_cache.status import cache_status, format_status
    from mmcl_cache.store import open_cache

    found = cache_status(open_cache(path), every_row=rows)
    click.echo(json.dumps(found, indent=1) if as_json else format_status(found))


COMMANDS = (status, verify, repair, gallery, list_names)
