"""Latency of `mmcl-train predict` on one core: p50 and p99 of reading, cleaning and cutting a file, and of the model.

python -m pipelines.bench_predict FILE --model RUN|FILE.onnx [--repeats 200]

Without --model: CTR-GCN of published size with random weights, with PyTorch and as ONNX. Both the clock and the
processor's time are shown; they agree on an idle machine.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from mmcl_train.deploy.clip import make_clip
from mmcl_train.deploy.onnx_graph import convert
from mmcl_train.deploy.onnx_model import OnnxModel
from mmcl_train.deploy.prediction import Model, predict_bodies
from mmcl_train.deploy.recording import clean_joints, read_recording
from mmcl_train.deploy.torch_model import TorchModel
from mmcl_train.engine.model_file import write_model
from pipelines.bench_export import create_random


def measure(call: Callable[[], Any], repeats: int) -> str:
    """`p50 p99` of the clock and of the processor's time, ms, after five calls to warm up."""
    times = []
    for n in range(repeats + 5):
        clock, processor = time.perf_counter(), time.process_time()
        call()
        if n >= 5:
            times.append((time.perf_counter() - clock, time.process_time() - processor))
    spans = 1e3 * np.percentile(np.array(times), (50, 99), axis=0)
    return f"{spans[0, 0]:.1f} | {spans[1, 0]:.1f} | {spans[0, 1]:.1f} | {spans[1, 1]:.1f}"


def measure_model(name: str, model: Model, file: Path, repeats: int) -> None:
    """Rows of one model."""
    bodies = read_recording(file, model.input)
    clip = make_clip(clean_joints(bodies, model.input), model.input)[None]
    click.echo(f"| {name}: the model alone | {measure(lambda: model.compute_logits(clip), repeats)} |")
    whole = measure(lambda: predict_bodies(model, "", read_recording(file, model.input), 0, 1), repeats)
    click.echo(f"| {name}: file to label | {whole} |")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--model", "path", type=click.Path(path_type=Path), help="Run folder or .onnx file.")
@click.option("--repeats", default=200, show_default=True)
def main(file: Path, path: Path | None, repeats: int) -> None:
    """Print the table."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    torch.set_num_threads(1)
    click.echo("| what | clock p50 ms | p99 | processor p50 ms | p99 |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        models: dict[str, Model] = {}
        if path is None:
            folder = Path(temporary)
            made, about = create_random("ctrgcn")
            write_model(folder, made.state_dict(), about)
            (folder / "ctrgcn.onnx").write_bytes(convert(made, about))
            models = {"PyTorch": TorchModel(folder), "ONNX": OnnxModel(folder / "ctrgcn.onnx", threads=1)}
        else:
            models = {path.name: OnnxModel(path, 1) if path.suffix == ".onnx" else TorchModel(path)}
        first = next(iter(models.values()))
        bodies = read_recording(file, first.input)
        click.echo(f"| read the file | {measure(lambda: read_recording(file, first.input), repeats)} |")
        prepare = measure(lambda: make_clip(clean_joints(bodies, first.input), first.input), repeats)
        click.echo(f"| clean and cut | {prepare} |")
        for name, model in models.items():
            measure_model(name, model, file, repeats)


if __name__ == "__main__":
    main()
