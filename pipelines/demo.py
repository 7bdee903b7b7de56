"""The whole way once, on generated clips: generate, build a cache, train with and without co-learning, compare.

    python -m pipelines.demo --out demo-out

About five minutes on two CPU cores, nothing is downloaded. Run again, it continues or tells what it found.
Accuracies on 400 generated clips and one seed say that everything works, not how good the method is.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from mmcl_cache.build import Build, scan_dataset
from mmcl_cache.config import BuildConfig
from mmcl_cache.status import cache_status, format_status
from mmcl_cache.store import open_cache
from mmcl_train.config import MethodConfig
from mmcl_train.engine.inputs import InputLoader, resolve
from mmcl_train.engine.summary import format_result
from mmcl_train.engine.trainer import train
from mmcl_train.presets import create_preset
from mmcl_train.settings import override, set_value


def run_demo(out: Path, epochs: int | None = None, seed: int = 1) -> dict[str, dict[str, Any]]:
    """Everything under `out`; the results of both runs.

    Args:
        epochs: of each run; None: the preset's.
    """
    started = time.monotonic()
    cache = build_cache(out)
    click.echo(f"\n[3/3] training, {time.monotonic() - started:.0f} s so far")
    config = create_preset("demo")
    config = set_value(config, "data.cache", str(cache), "demo")
    config = set_value(config, "train.seed", seed, "demo")
    config = override(config, [f"schedule.epochs={epochs}", "schedule.steps=[]"] if epochs else [])
    loader = InputLoader(cache, torch.device("cpu"))
    results = {}
    for name, enabled in (("co-learning", True), ("skeleton-only", False)):
        click.echo(f"\n{name}:")
        asked = replace(config, method=replace(MethodConfig(), enabled=enabled))
        resolved = resolve(asked, loader.cache.description)
        folder = out / "runs" / name
        results[name] = train(resolved, loader.load(resolved, click.echo), folder)
        click.echo(format_result(results[name], folder))
    click.echo(f"\n{format_comparison(results)}\nall of it: {time.monotonic() - started:.0f} s")
    click.echo(f"look on: tensorboard --logdir {out / 'runs'}; mmcl-cache status {cache}")
    return results


def build_cache(out: Path) -> Path:
    """Generate the clips and cache them; the cache's folder."""
    config = BuildConfig(dataset="demo", source=out / "data", cache=out / "cache")
    click.echo(f"[1/3] clips in NTU's formats under {config.source}")
    dataset = scan_dataset(config)
    click.echo(f"[2/3] cache of {len(dataset.samples)} samples under {config.cache}")
    Build(config, dataset).run()
    click.echo(format_status(cache_status(open_cache(config.cache))))
    return config.cache


def format_comparison(results: dict[str, dict[str, Any]]) -> str:
    """The two accuracies side by side."""
    tests = {name: result["accuracy"]["test-last"] for name, result in results.items()}
    shown = {name: 100 * test["top1"] for name, test in tests.items()}
    gain, count = shown["co-learning"] - shown["skeleton-only"], tests["co-learning"]["count"]
    # Of one accuracy; the difference of two runs on the same samples is of the same size.
    error = 100 * math.sqrt(tests["skeleton-only"]["top1"] * (1 - tests["skeleton-only"]["top1"]) / count)
    return (
        f"test accuracy, last epoch, same seed: co-learning {shown['co-learning']:.1f} %, "
        f"skeleton only {shown['skeleton-only']:.1f} % ({gain:+.1f} points; one seed, {count} samples, "
        f"standard error {error:.1f})"
    )


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo-out"), show_default=True)
@click.option("--epochs", type=int, help="Of each run.  [default: the preset's]")
@click.option("--seed", type=int, default=1, show_default=True)
def main(out: Path, epochs: int | None, seed: int) -> None:
    """Generate, build, train with and without co-learning, compare."""
    run_demo(out, epochs, seed)


if __name__ == "__main__":
    main()
