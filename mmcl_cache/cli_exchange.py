"""Commands of `mmcl-cache` that look before a build, and that exchange caches with other formats."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mmcl_cache.errors import UserError
from mmcl_cache.terminal.cli_options import progress_options
from mmcl_cache.terminal.events import finish

PATH = click.Path(path_type=Path)


@click.command(name="import")
@click.argument("path", type=PATH)
@click.option("--cache", type=PATH, required=True, help="Folder of the cache; made new for skeletons.")
@click.option(
    "--field", default="skeleton", type=click.Choice(["skeleton", "text", "strip"]), help="What PATH holds."
)
@click.option(
    "--dataset", metavar="NAME", help="What the cache calls it.  [default: ntu60, ntu120 or the file's name]"
)
@click.option(
    "--layout", metavar="NAME", help="Layout of the joints.  [default: that of the format's family]"
)
@click.option("--protocol", metavar="NAME", help="Of an .npz whose counts alone do not tell it.")
@click.option(
    "--names", type=PATH, help="Of an .npz: the ids it was made from, one a line.  [default: as published]"
)
@click.option("--variant", default="default", metavar="NAME", help="Name of the imported text or strips.")
@progress_options
def import_files(
    path: Path,
    cache: Path,
    field: str,
    dataset: str | None,
    layout: str | None,
    protocol: str | None,
    names: Path | None,
    variant: str,
) -> None:
    """Keep what was computed before: PATH into a cache.

    PATH is CTR-GCN's .npz or pyskl's .pkl (skeletons, a new cache), or a folder of <sample id>.npy text features or
    <sample id>.jpg strips (--field text, --field strip) for a cache that is there. Nothing in a file is ever run.
    """
    from mmcl_cache.exchange.features_in import import_features
    from mmcl_cache.exchange.skeletons_in import import_skeletons
    from mmcl_cache.store import field_status, open_cache
    from mmcl_cache.terminal.board import StageProgress

    if field == "skeleton":
        with StageProgress("import") as say:
            opened = import_skeletons(
                path, cache, name=dataset, layout=layout, protocol=protocol, names=names, say=say
            )
        counts = field_status(opened.field("skeleton"))
        text = f"{cache}: {opened.description.dataset}, {counts.rows}"
        finish("import", text, {"cache": str(cache), "field": "skeleton/default", "rows": counts.rows})
        return
    if dataset or layout or protocol or names:
        raise UserError(f"--field {field}: --dataset, --layout, --protocol and --names belong to skeletons")
    with StageProgress("import") as say:
        made, strangers = import_features(open_cache(cache), path, field, variant, say)
    more = f"; {strangers} files are named after no sample and were left out" if strangers else ""
    rows = field_status(made).rows
    numbers = {"cache": str(cache), "field": made.name, "rows": rows, "left_out": strangers}
    finish("import", f"{cache}: {made.name}, {rows}{more}", numbers)


@click.command(name="export")
@click.argument("cache", type=PATH)
@click.option("--format", "form", required=True, metavar="NAME", help="ctrgcn (.npz) or pyskl (.pkl).")
@click.option("--out", type=PATH, required=True, help="File to write.")
@click.option("--protocol", metavar="NAME", help="Of the .npz.  [default: the cache's first]")
@progress_options
def export_files(cache: Path, form: str, out: Path, protocol: str | None) -> None:
    """The skeletons of CACHE as others' code reads them."""
    from mmcl_cache.exchange.skeletons_out import export_skeletons
    from mmcl_cache.store import open_cache
    from mmcl_cache.terminal.board import StageProgress

    with StageProgress("export", "clips") as say:
        written, left_out = export_skeletons(open_cache(cache), out, form, protocol, say)
    more = f"; {left_out} rows without a valid skeleton left out" if left_out else ""
    numbers = {"file": str(out), "clips": written, "left_out": left_out}
    finish("export", f"{out}: {written} clips{more}", numbers)


def print_plan(found: object, shard_size: int, as_json: bool) -> None:
    """What a build of a data set would meet."""
    from dataclasses import asdict

    from mmcl_cache.datasets import Dataset
    from mmcl_cache.datasets.plan import plan_summary
    from mmcl_cache.status import format_bytes

    assert isinstance(found, Dataset)
    summary = plan_summary(found)
    strips = sum(s.video is not None for s in found.samples)
    shards = -(-summary.samples // shard_size)
    # Measured on NTU-like material: a 480 × 480 strip of JPEG quality 95, and one body of 25 joints and 75 frames.
    size = strips * 60_000 + (summary.samples - summary.no_skeleton - summary.nothing) * 30_000
    if as_json:
        click.echo(json.dumps(asdict(summary) | {"shards": shards, "expected_bytes": size}, indent=1))
        return
    about = "about " if summary.estimated else ""
    lines = [
        f"{found.name}: {summary.samples} samples: {summary.complete} with video and skeleton, "
        f"{summary.no_video} without video, {summary.no_skeleton} without skeleton, {summary.nothing} with neither",
        *(f"  {note}" for note in summary.notes),
        *(f"  protocol {name}: {train} train, {test} test" for name, (train, test) in summary.splits.items()),
        f"  to read: {about}{format_bytes(summary.video_bytes)} of video, "
        f"{about}{format_bytes(summary.skeleton_bytes)} of skeletons",
        f"  to write: {shards} shards a field, expected {format_bytes(size)} of skeletons and strips; "
        "features come on top, about 2 to 8 kB a sample",
    ]
    for what, ids in (("video", summary.no_video_ids), ("skeleton", summary.no_skeleton_ids)):
        if ids:
            lines.append(f"  no {what}: {', '.join(ids)} …")
    click.echo("\n".join(lines))


COMMANDS = (import_files, export_files)
