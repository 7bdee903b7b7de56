"""Commands of `mmcl-cache` that keep caches right over time: retry, diff."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mmcl_cache.errors import UserError
from mmcl_cache.terminal.cli_options import progress_options
from mmcl_cache.terminal.events import finish, tell
from mmcl_cache.terminal.modes import chosen_mode

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
@progress_options
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
    from mmcl_cache.terminal.board import StageProgress

    opened = open_cache(cache)
    machine = Machine(source, _named_models(models), workers, deadline, device=device)
    dataset = find_source(opened, source, ScanOptions(video, layout, csv, follow_links))
    found = None
    if changed:
        with StageProgress("source", "samples") as say:
            found = check_source(opened, dataset, say)
    due = plan_retry(opened, dataset, Choice(absent, changed, samples), found)
    listed = list_due(opened, due)
    if not listed:
        finish("retry", f"{cache}: nothing to retry", {"cache": str(cache), "samples": 0})
        return
    if dry_run:
        for sample_id, names in listed.items():
            _print_row(sample_id, ", ".join(names), {"fields": names})
        text = f"{cache}: {len(listed)} samples would be tried again; nothing was written"
        finish("retry", text, {"cache": str(cache), "samples": len(listed), "dry_run": True})
        return
    report = run_retry(
        opened, dataset, due, machine, lambda row: _print_row(row.sample_id, str(row), asdict(row))
    )
    counts = {
        "samples": len(listed),
        "mended": report.count(lambda row: row.before != "ok" and row.after == "ok"),
        "made_again": report.count(lambda row: row.before == row.after == "ok" and row.changed),
        "failed": report.count(lambda row: row.after == "failed"),
        "shards": report.shards,
    }
    finish(
        "retry",
        "{cache}: {samples} samples tried again: {mended} mended, {made_again} made again, {failed} still failed; "
        "{shards} shards replaced".format(cache=cache, **counts),
        {"cache": str(cache), **counts, "seconds": round(report.wall_seconds, 3)},
    )


def _print_row(sample_id: str, text: str, values: dict[str, Any]) -> None:
    if chosen_mode() == "json":
        tell({"event": "row", "sample_id": sample_id, **values, "text": text})
    else:
        click.echo(f"{sample_id}: {text}")


def verify_source(cache: Any, source: Path, options: Any) -> None:
    """Tell which files of a data set are not those a cache was made from.

    Raises:
        UserError: there are some; says what to do.
    """
    from mmcl_cache.source import find_source
    from mmcl_cache.source_check import check_source
    from mmcl_cache.terminal.board import StageProgress

    with StageProgress("source", "samples") as say:
        found = check_source(cache, find_source(cache, source, options), say)
    named = {"changed": found.changed, "vanished": found.vanished, "new": found.appeared}
    for what, samples in named.items():
        for sample_id, kinds in samples.items():
            _print_row(sample_id, f"{what} {' and '.join(kinds)}", {"files": what, "kinds": kinds})
    counts = {name: len(samples) for name, samples in named.items()}
    counts |= {"unchanged": found.unchanged, "not_recorded": found.not_recorded}
    finish(
        "verify",
        "{source}: {unchanged} samples unchanged, {changed} changed, {vanished} vanished, {new} with new files, "
        "{not_recorded} not recorded".format(source=source, **counts),
        {"source": str(source), **counts},
    )
    if found.changed or found.vanished:
        again = f"`mmcl-cache retry {cache.path} --source {source} --changed` makes their rows again; "
        raise UserError(
            f"{source}: {counts['changed']} samples changed and {counts['vanished']} vanished since {cache.path} was "
            f"made from them; {again if found.changed else ''}rows of vanished files are kept as they are"
        )


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def diff(context: click.Context, a: str, b: str, as_json: bool) -> None:
    """Settings and rows in which two caches differ, or two field variants: CACHE:FIELD/VARIANT.

    Exit code 0: they hold the same. 1: they differ. 2: a mistake.
    """
    from mmcl_cache.diff import diff_caches, diff_fields
    from mmcl_cache.diff_text import format_caches, format_fields
    from mmcl_cache.store import open_cache

    (path_a, variant_a), (path_b, variant_b) = _split_place(a), _split_place(b)
    if bool(variant_a) != bool(variant_b):
        raise UserError(f"{a}, {b}: name a FIELD/VARIANT of both or of neither")
    cache_a, cache_b = open_cache(path_a), open_cache(path_b)
    if variant_a and variant_b:
        one = diff_fields(cache_a.field(*variant_a), cache_b.field(*variant_b))
        equal, lines = one.equal, format_fields(one)
        value = {"equal": equal, **asdict(one)}
    else:
        every = diff_caches(cache_a, cache_b)
        equal, lines, value = every.equal, format_caches(every), every.to_json()
    if as_json:
        click.echo(json.dumps({"a": a, "b": b, **value}, indent=1))
    else:
        click.echo(f"A {a}\nB {b}")
        click.echo("\n".join(lines or ["the same settings, the same rows"]))
    context.exit(0 if equal else 1)


def _split_place(text: str) -> tuple[Path, tuple[str, str] | None]:
    """CACHE, or CACHE:FIELD/VARIANT; a path may hold a colon of its own."""
    path, separator, place = text.rpartition(":")
    name, slash, variant = place.partition("/")
    if not separator or (Path(text) / "cache.json").is_file():
        return Path(text), None
    if not slash or not name or not variant:
        raise UserError(f"{text}: say CACHE or CACHE:FIELD/VARIANT, such as caches/demo:text/default")
    return Path(path), (name, variant)


def _named_models(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, separator, model = pair.partition("=")
        if not separator or name.count("/") != 1 or not model:
            raise UserError(f"--model {pair}: say FIELD/VARIANT=MODEL, such as text/default=models/blip")
        found[name] = model
    return found


COMMANDS = (retry, diff)
