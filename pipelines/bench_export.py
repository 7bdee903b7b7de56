"""Every backbone as ONNX: difference from PyTorch, file sizes, time of one clip on one core, as a Markdown table.

python -m pipelines.bench_export [--backbone NAME]… [--repeats 30]

Random weights of the published size (120 classes, 64 frames, NTU's 25 joints, 2 bodies). Times are the processor's, so
that other work on the machine counts for little. One row is printed as soon as it is measured.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import BACKBONES
from mmcl_train.data.clips import ClipSettings
from mmcl_train.deploy.onnx_file import compare, quantise
from mmcl_train.deploy.onnx_graph import convert, draw_joints
from mmcl_train.deploy.onnx_model import OnnxModel
from mmcl_train.engine.assembly import create_model
from mmcl_train.engine.checkpoint import pack
from mmcl_train.engine.model_file import ModelAbout
from mmcl_train.method.model import SkeletonModel

STACKED = 12  # channels of PSUMNet's stacked streams


def create_random(backbone: str) -> tuple[SkeletonModel, ModelAbout]:
    """A model of published size; batch norm has seen a few clips, so that logits have an ordinary size."""
    layout, clip = LAYOUTS["ntu25"], ClipSettings()
    channels = STACKED if backbone.startswith("psumnet") else 3
    torch.manual_seed(0)
    model = create_model(
        backbone,
        width=1.0,
        layout=layout,
        num_bodies=2,
        clip_length=64,
        in_channels=channels,
        num_classes=120,
    )
    with torch.no_grad():
        for _ in range(2):
            model.train()(torch.randn(2, channels, 64, 25, 2))
    about = ModelAbout(
        backbone=backbone,
        width=1.0,
        layout=layout,
        num_bodies=2,
        in_channels=channels,
        classes=tuple(map(str, range(120))),
        stream="joint",
        clip=clip,
        dataset="",
        protocol="",
        skeleton_variant="default",
        run={"run": "random weights"},
        skeleton={"format": "ntu-skeleton"},
    )
    return model.eval(), about


def measure_milliseconds(call: Callable[[], Any], repeats: int) -> float:
    """Median processor time of a call after two to warm up, ms."""
    call()
    call()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        times.append(1e3 * (time.process_time() - began))
    return float(np.median(times))


def measure_backbone(name: str, repeats: int) -> str:
    """One row of the table."""
    model, about = create_random(name)
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode(False):
        plain, small = Path(temporary) / "plain.onnx", Path(temporary) / "small.onnx"
        plain.write_bytes(convert(model, about))
        quantise(plain, small)
        full, int8 = OnnxModel(plain, threads=1), OnnxModel(small, threads=1)
        joints = draw_joints(model, 1)
        clip: NDArray[np.float32] = joints.numpy()
        with torch.inference_mode():
            eager = measure_milliseconds(lambda: model(joints), repeats)
        times = [measure_milliseconds(partial(m.compute_logits, clip), repeats) for m in (full, int8)]
        sizes = [len(pack(model.state_dict())), plain.stat().st_size, small.stat().st_size]
        return (
            f"| {name} | {compare(model, full):.0e} | {compare(model, int8):.0e} | "
            + " | ".join(f"{size / 1e6:.1f}" for size in sizes)
            + f" | {eager:.0f} | {times[0]:.0f} | {times[1]:.0f} |"
        )


@click.command()
@click.option(
    "--backbone", "names", multiple=True, type=click.Choice(sorted(BACKBONES)), help="Default: all."
)
@click.option("--repeats", default=30, show_default=True)
def main(names: tuple[str, ...], repeats: int) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    click.echo(
        "| backbone | difference, fp32 | int8 | safetensors MB | ONNX MB | int8 MB | PyTorch ms | ONNX ms | int8 ms |"
    )
    click.echo("|---|---|---|---|---|---|---|---|---|")
    for name in names or sorted(BACKBONES):
        click.echo(measure_backbone(name, repeats))


if __name__ == "__main__":
    main()
