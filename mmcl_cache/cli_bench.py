"""The command of `mmcl-cache` that measures this machine. Heavy imports wait until it runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click


@click.command()
@click.option("--clips", default=100, metavar="N", help="Generated clips.")
@click.option("--source", type=click.Path(path_type=Path), help="A demo that is there already.")
@click.option(
    "--vqa", default="embedded", metavar="MODEL", help="Hub id or folder of a visual question model."
)
@click.option("--cnn", default="embedded", metavar="MODEL", help="Hub id or folder of an image classifier.")
@click.option(
    "--image-size", type=int, metavar="PX", help="What the visual question model sees.  [default: its own]"
)
@click.option("--batch-size", default=32, metavar="ROWS", help="Strips a model sees at once.")
@click.option("--compile", "compile_vision", is_flag=True, help="Compile BLIP's vision tower.")
@click.option("--memory", is_flag=True, help="Peak memory of a quarter of the clips and of all, instead.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def bench(
    clips: int,
    source: Path | None,
    vqa: str,
    cnn: str,
    image_size: int | None,
    batch_size: int,
    compile_vision: bool,
    memory: bool,
    as_json: bool,
) -> None:
    """Time decoding, models and whole builds on generated clips, against their floors and the published way."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from mmcl_cache import bench as benching

    asked = benching.BenchSettings(clips, source, vqa, cnn, image_size, batch_size, compile_vision)
    found = benching.measure_memory(asked) if memory else benching.measure_speed(asked)
    click.echo(json.dumps(found, indent=1) if as_json else benching.format_bench(found))


COMMANDS = (bench,)
