"""Commands on models that are not in training; heavy imports wait until a command runs."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command(name="import-checkpoint")
@click.argument("file", type=PATH)
@click.option("--backbone", required=True, help="What the checkpoint is of; see list backbones.")
@click.option("--layout", default="", help="Skeleton layout (default: the cache's, or ntu25).")
@click.option(
    "--num-classes",
    type=click.IntRange(min=1),
    default=None,
    help="Checked against the classifier (default: as many as it has).",
)
@click.option(
    "--num-bodies", type=click.IntRange(min=1), default=None, help="Default: two, or one where only one fits."
)
@click.option("--stream", default="joint", show_default=True, help="What the model was trained on.")
@click.option(
    "--clip-length", type=click.IntRange(min=1), default=None, help="Frames (default: the cache's, or 64)."
)
@click.option("--cache", type=PATH, help="Take class names, layout and clip transform from this cache.")
@click.option("--out", type=PATH, required=True, help="New folder for model.safetensors and model.json.")
def import_checkpoint(
    file: Path,
    backbone: str,
    layout: str,
    num_classes: int | None,
    num_bodies: int | None,
    stream: str,
    clip_length: int | None,
    cache: Path | None,
    out: Path,
) -> None:
    """Turn the authors' own checkpoint (.pt, .pth) into a model that eval reads.

    Strict: says what is missing, left over or of another shape, and what the file probably is. Nothing in the
    file is run.
    """
    from mmcl_train.deploy.import_checkpoint import Asked
    from mmcl_train.deploy.import_checkpoint import import_checkpoint as run_import

    asked = Asked(
        backbone=backbone,
        layout=layout,
        num_classes=num_classes or 0,
        num_bodies=num_bodies or 0,
        stream=stream,
        clip_length=clip_length or 0,
        cache=cache,
    )
    for line in run_import(file, asked, out):
        click.echo(line)
