"""Commands of `mmcl-cache` that make caches: plan, build, fit-cnn."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mmcl_cache.cli_exchange import print_plan
from mmcl_cache.cli_look import named_variants
from mmcl_cache.errors import UserError
from mmcl_cache.terminal.cli_options import progress_options
from mmcl_cache.terminal.events import finish, note


def _source_options(command: Any) -> Any:
    options = [
        click.option(
            "--dataset", required=True, metavar="NAME", help="demo, ntu60, ntu120, nw-ucla … (see `list`)"
        ),
        click.option(
            "--source", type=click.Path(path_type=Path), help="Folder of its files.  [default: data/NAME]"
        ),
        click.option(
            "--video", default="auto", metavar="KIND", help="Image source: auto, color, depth or none."
        ),
        click.option("--layout", metavar="NAME|JSON", help="Of `folder`: a built-in layout or a JSON file."),
        click.option(
            "--csv", type=click.Path(path_type=Path), help="Of `folder`: the table that lists the samples."
        ),
        click.option(
            "--follow-links", is_flag=True, help="Read files outside the source, behind links that lie in it."
        ),
        click.option("--limit", type=int, metavar="N", help="Only the first N samples of the sorted ids."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


BUILD_EXAMPLES = """\b
Examples:
  mmcl-cache build --dataset demo
  mmcl-cache build --dataset ntu120 --source /data/ntu --vqa Salesforce/blip-vqa-base --cnn microsoft/resnet-50
  mmcl-cache build --dataset ntu120 --source /data/ntu --vqa llava-hf/llava-1.5-7b-hf --variant text=llava
  mmcl-cache build --dataset ntu120 --source /data/ntu --part 0/8 --progress json 2> build.jsonl
"""


@click.command(epilog=BUILD_EXAMPLES)
@_source_options
@click.option("--cache", type=click.Path(path_type=Path), help="Folder to write.  [default: caches/NAME]")
@click.option(
    "--field", "fields", multiple=True, metavar="NAME", help="Only these: skeleton, strip, text, rgb."
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="FIELD=NAME",
    help="Keep a field under this name, beside others.",
)
@click.option(
    "--vqa", default="embedded", metavar="MODEL", help="Hub id or folder of a visual question model."
)
@click.option(
    "--question", "questions", multiple=True, metavar="TEXT", help="Asked of every strip; may be repeated."
)
@click.option("--choice", "choices", multiple=True, metavar="WORD", help="Answers whose probability is kept.")
@click.option("--cnn", default="embedded", metavar="MODEL", help="Hub id or folder of an image classifier.")
@click.option(
    "--image-size", type=int, metavar="PX", help="What the visual question model sees.  [default: its own]"
)
@click.option(
    "--sampling", default="published", metavar="NAME", help="Frames of a strip: published or centre."
)
@click.option(
    "--crop", default="person", metavar="HOW", help="What of a frame is shown: person, none, detector:MODEL."
)
@click.option(
    "--crop-scope", default="clip", type=click.Choice(["clip", "frame"]), help="One box a clip, or a tile."
)
@click.option("--slack", default=0.15, metavar="SHARE", help="Added to the box on each side.")
@click.option("--tiles", default=5, metavar="K", help="Frames in a strip.")
@click.option("--shard-size", default=256, metavar="ROWS", help="Rows a shard: what a kill can lose.")
@click.option("--batch-size", default=32, metavar="ROWS", help="Strips a model sees at once.")
@click.option("--workers", type=int, metavar="N", help="Decode processes.  [default: the machine's cores]")
@click.option(
    "--deadline", default=60.0, metavar="SECONDS", help="Longest a sample may take; then retried once."
)
@click.option(
    "--decoder", default="auto", metavar="NAME", help="auto, decord or pyav; all give the same frames."
)
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 …")
@click.option("--dtype", default="auto", metavar="NAME", help="auto, float32, bfloat16 or float16.")
@click.option(
    "--enc-token", is_flag=True, help="Begin questions to BLIP with [ENC], as its publication does."
)
@click.option("--max-tokens", type=int, metavar="N", help="Longest answer.  [default: 10, chat models 32]")
@click.option(
    "--compile", "compile_vision", is_flag=True, help="Compile BLIP's vision tower; for large builds."
)
@click.option(
    "--model-threads", type=int, metavar="N", help="Batches a model works on at once.  [default: auto]"
)
@click.option("--engine", default="local", metavar="NAME", help="Who makes the shards: local or ray.")
@click.option("--part", metavar="I/N", help="Only this part of the shards, beside jobs that make the others.")
@progress_options
def build(
    dataset: str,
    source: Path | None,
    video: str,
    layout: str | None,
    csv: Path | None,
    follow_links: bool,
    limit: int | None,
    cache: Path | None,
    fields: tuple[str, ...],
    variants: tuple[str, ...],
    vqa: str,
    questions: tuple[str, ...],
    choices: tuple[str, ...],
    cnn: str,
    image_size: int | None,
    sampling: str,
    crop: str,
    crop_scope: str,
    slack: float,
    tiles: int,
    shard_size: int,
    batch_size: int,
    workers: int | None,
    deadline: float,
    decoder: str,
    device: str,
    dtype: str,
    enc_token: bool,
    max_tokens: int | None,
    compile_vision: bool,
    model_threads: int | None,
    engine: str,
    part: str | None,
) -> None:
    """Decode, make strips, run the big models once, keep everything in shards.

    A build can be stopped or killed at any moment; the same command continues it.
    """
    # Threads that spin while they wait take the cores from decoding; read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from mmcl_cache.build import run_build
    from mmcl_cache.config import DEFAULT_CHOICES, DEFAULT_QUESTIONS, BuildConfig, StripSettings
    from mmcl_cache.datasets import ScanOptions
    from mmcl_cache.status import cache_status, format_status
    from mmcl_cache.store import open_cache

    how, separator, detector = crop.partition(":")
    if how not in ("person", "none", "detector") or bool(separator) != (how == "detector"):
        raise UserError(f"--crop {crop}: say person, none or detector:MODEL")
    config = BuildConfig(
        dataset=dataset,
        source=source or Path("data") / dataset,
        cache=cache or Path("caches") / dataset,
        fields=fields or None,
        variants=named_variants(variants),
        scan=ScanOptions(video=video, layout=layout, csv=csv, follow_links=follow_links),
        strip=StripSettings(tiles=tiles, sampling=sampling, crop=how, crop_scope=crop_scope, slack=slack),
        detector=detector or None,
        vqa=vqa,
        cnn=cnn,
        questions=questions or DEFAULT_QUESTIONS,
        choices=choices or DEFAULT_CHOICES,
        limit=limit,
        shard_size=shard_size,
        batch_size=batch_size,
        workers=workers,
        deadline=deadline,
        decoder=decoder,
        device=device,
        dtype=dtype,
        image_size=image_size,
        enc_token=enc_token,
        max_tokens=max_tokens,
        compile_vision=compile_vision,
        model_threads=model_threads,
    )
    report = run_build(config, engine, part, note)
    _print_report(report)
    found = cache_status(open_cache(config.cache))
    numbers = {"build": {**asdict(report), "limited_by": report.limit()}, "status": found}
    finish("build", format_status(found), numbers)


@click.command(name="fit-cnn")
@click.option("--cache", required=True, type=click.Path(path_type=Path), help="Whose strips are shown.")
@click.option(
    "--protocol", required=True, metavar="NAME", help="Its training split is fitted on, no other id."
)
@click.option("--cnn", default="embedded", metavar="MODEL", help="Hub id or folder to begin from.")
@click.option("--epochs", default=10, metavar="N", help="Times every strip is shown.")
@click.option("--batch-size", default=32, metavar="STRIPS", help="Strips a step.")
@click.option("--learning-rate", default=3e-4, metavar="RATE", help="The highest of a cosine schedule.")
@click.option("--seed", default=1, metavar="N", help="Order, mirroring, the new classifier.")
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 …")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder to write.  [default: models/cnn-PROTOCOL]"
)
@progress_options
def fit_cnn(
    cache: Path,
    protocol: str,
    cnn: str,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    device: str,
    out: Path | None,
) -> None:
    """Fine-tune a CNN on the training strips of CACHE; then cache it with `build --cnn FOLDER`."""
    from mmcl_cache import fit_cnn as fitting
    from mmcl_cache.store import open_cache

    settings = fitting.FitSettings(protocol, cnn, epochs, batch_size, learning_rate, seed=seed, device=device)
    folder = out or Path("models") / f"cnn-{protocol}"
    result = fitting.fit_cnn(open_cache(cache), settings, folder)
    text = (
        f"{folder}: last epoch loss {result['loss']:.3f}, {100 * result['accuracy']:.1f} % of the training strips; "
        f"cache it: mmcl-cache build … --cnn {folder} --variant rgb=fitted"
    )
    finish("fit-cnn", text, {"folder": str(folder), **result})


@click.command()
@_source_options
@click.option("--shard-size", default=256, metavar="ROWS", help="Rows a shard.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def plan(
    dataset: str,
    source: Path | None,
    video: str,
    layout: str | None,
    csv: Path | None,
    follow_links: bool,
    limit: int | None,
    shard_size: int,
    as_json: bool,
) -> None:
    """What a build would meet: samples, what they lack, bytes to read, shards, expected size. Opens no file."""
    from mmcl_cache.config import BuildConfig
    from mmcl_cache.datasets import ScanOptions
    from mmcl_cache.plan import scan_dataset

    config = BuildConfig(
        dataset=dataset,
        source=source or Path("data") / dataset,
        cache=Path("caches") / dataset,
        scan=ScanOptions(video=video, layout=layout, csv=csv, follow_links=follow_links),
        limit=limit,
        shard_size=shard_size,
    )
    print_plan(scan_dataset(config), shard_size, as_json)


def _print_report(report: Any) -> None:
    if not report.shards_made:
        note("nothing to do: every shard is complete")
        return
    models = "".join(f", {name} {seconds:.1f} s" for name, seconds in report.model_seconds.items())
    limit = report.limit()
    note(
        f"made {report.shards_made} shards in {report.wall_seconds:.1f} s: decoding {report.decode_seconds:.1f} CPU s, "
        f"preparing strips {report.prepare_seconds:.1f} s{models}, writing {report.write_seconds:.1f} s"
        f"{f'; limited by {limit}' if limit else ''}"
    )


COMMANDS = (build, plan, fit_cnn)
