"""Commands of `mmcl-cache` that keep caches right over time: retry, diff."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from mmcl_cache.errors import UserError

PATH = click.Path(path_type=Path)


def source_options(command: Any) -> Any:
    """Where a cache's files are, and how to find them; what is left out is as the cache was built."""
    options = [
        click.option("--video", default="auto", metavar="KIND", help="Image source.  [default: as built]"),
        click.option("--layout", metavar="NAME|JSON", help="Of `folder`: the layout.  [default: as built]"),
        click.option("--csv", type=PATH, help="Of `folder`: the table that lists the samples."),
        click.option(
            "--follow-links", is_flag=True, help="Read files outside the source, behind links that lie in it."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("cache", type=PATH)
@click.option("--source", required=True, type=PATH, help="Folder of the data set's files.")
@source_options
@click.option("--absent", is_flag=True, help="Rows too whose files were not there.")
@click.option(
    "--changed", is_flag=True, help="Instead, rows whose files are other ones than they were made from."
)
@click.option("--sample", "samples", multiple=True, metavar="ID", help="Instead, every row of this sample.")
@click.option("--dry-run", is_flag=True, help="Only list the rows.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="FIELD/VARIANT=MODEL",
    help="Where a model is now: text/default=FOLDER.  [default: as built]",
)
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 …")
@click.option("--workers", type=int, metavar="N", help="Decode processes.  [default: the machine's cores]")
@click.option("--deadline", default=60.0, metavar="SECONDS", help="Longest a sample may take.")
def retry(
    cache: Path,
    source: Path,
    video: str,
    layout: str | None,
    csv: Path | None,
    follow_links: bool,
    absent: bool,
    changed: bool,
    samples: tuple[str, ...],
    dry_run: bool,
    models: tuple[str, ...],
    device: str,
    workers: int | None,
    deadline: float,
) -> None:
    """Make the failed rows of CACHE again, with the settings it was built with.

    Text and rgb follow the strips they are made from. Every other row stays as it is, byte for byte, and a good row is
    never replaced by one that is not. Rows of shards that are not built yet are left to `build`.
    """
    # Threads that spin while they wait take the cores from decoding; read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from mmcl_cache.datasets import ScanOptions
    from mmcl_cache.due import Choice, list_due
    from mmcl_cache.recorded import Machine
    from mmcl_cache.retry import plan_retry, run_retry
    from mmcl_cache.source import find_source
    from mmcl_cache.source_check import check_source
    from mmcl_cache.store import open_cache

    opened = open_cache(cache)
    machine = Machine(source, _named_models(models), workers, deadline, device=device)
    dataset = find_source(opened, source, ScanOptions(video, layout, csv, follow_links))
    choice = Choice(absent, changed, samples)
    due = plan_retry(opened, dataset, choice, check_source(opened, dataset) if changed else None)
    listed = list_due(opened, due)
    if not listed:
        click.echo(f"{cache}: nothing to retry")
        return
    if dry_run:
        for sample_id, names in listed.items():
            click.echo(f"{sample_id}: {', '.join(names)}")
        click.echo(f"{cache}: {len(listed)} samples would be tried again; nothing was written")
        return
    report = run_retry(opened, dataset, due, machine, lambda o: click.echo(f"{o.sample_id}: {o}"))
    mended = report.count(lambda o: o.before != "ok" and o.after == "ok")
    again = report.count(lambda o: o.before == o.after == "ok" and o.changed)
    bad = report.count(lambda o: o.after == "failed")
    click.echo(
        f"{cache}: {len(listed)} samples tried again in {report.wall_seconds:.1f} s: {mended} mended, "
        f"{again} made again, {bad} still failed; {report.shards} shards replaced"
    )


def _named_models(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, separator, model = pair.partition("=")
        if not separator or name.count("/") != 1 or not model:
            raise UserError(f"--model {pair}: say FIELD/VARIANT=MODEL, such as text/default=models/blip")
        found[name] = model
    return found


COMMANDS = (retry,)
