"""What each step of the processor's training step is worth: CTR-GCN's step without it, against the step with all.

    OMP_NUM_THREADS=1 python -m pipelines.bench_cpu_steps

Every measure is a process of its own, taken in turn so that a busy machine hits all; processor time.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import create_backbone, ctrgcn, norm, temporal
from mmcl_train.backbones.blocks import TenBlockBackbone
from mmcl_train.backbones.plain_ctrgcn import PlainCTRGCN
from mmcl_train.engine.allocator import keep_freed_memory

CLASSES, FRAMES = 60, 64
PLAIN, ALL, ALLOCATOR = "plain formulation", "all steps", "freed memory kept"


def pool_joint_by_joint(x: Tensor, stride: int) -> Tensor:
    return F.max_pool2d(x, (3, 1), (stride, 1), (1, 0))


def take_moments_value_by_value(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0)
    return mean, variance


def replace(owner: Any, name: str, other: Any) -> Callable[[], None]:
    return lambda: setattr(owner, name, other)


# step → what takes it back
STEPS: dict[str, Callable[[], None]] = {
    "absent bodies computed once": replace(
        TenBlockBackbone, "choose_bodies", lambda self, joints, known: None
    ),
    ALLOCATOR: lambda: None,
    "norm statistics in vectors": replace(norm, "row_moments", take_moments_value_by_value),
    "frames pooled in vectors": replace(temporal, "pool_frames", pool_joint_by_joint),
    "graph products summed in place": replace(ctrgcn, "is_quick", lambda x: False),
}


@click.command()
@click.option("--batch", default=8, show_default=True, help="Clips a step.")
@click.option("--two-bodies", default=2, show_default=True, help="Of these, clips with two bodies.")
@click.option("--rounds", default=3, show_default=True, help="Processes a measure; the median is shown.")
@click.option("--only", hidden=True, help="Measure one in this process and print it.")
def main(batch: int, two_bodies: int, rounds: int, only: str | None) -> None:
    """Print the table."""
    if only is not None:
        click.echo(json.dumps(measure_step(only, batch, two_bodies)))
        return
    names = [PLAIN, ALL, *STEPS]
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(measure_apart(name, batch, two_bodies))
    seconds = {name: statistics.median(values) for name, values in found.items()}
    click.echo(
        f"CTR-GCN, batch {batch}, {FRAMES} frames, {two_bodies} clips of two bodies, {torch.get_num_threads()} threads"
    )
    click.echo(f"{'step':<40} {'ms a clip':>10} {'of all steps':>12}")
    for name in names:
        label = name if name in (PLAIN, ALL) else f"without: {name}"
        click.echo(f"{label:<40} {1000 * seconds[name] / batch:10.1f} {seconds[name] / seconds[ALL]:12.2f}")


def measure_apart(name: str, batch: int, two_bodies: int) -> float:
    """`measure_step` in a process of its own."""
    command = [sys.executable, "-m", "pipelines.bench_cpu_steps", "--only", name]
    command += ["--batch", str(batch), "--two-bodies", str(two_bodies)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def measure_step(name: str, batch: int, two_bodies: int) -> float:
    """Processor seconds of a training step without the step `name`; the fastest of six."""
    if name != ALLOCATOR:
        keep_freed_memory()
    STEPS.get(name, lambda: None)()
    torch.manual_seed(0)
    joints = torch.randn(batch, 3, FRAMES, 25, 2)
    joints[two_bodies:, ..., 1] = 0
    labels = torch.arange(batch) % CLASSES
    model = create_model(name)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    taken = []
    for _ in range(8):
        began = time.process_time()
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(model(joints), labels).backward()
        optimiser.step()
        taken.append(time.process_time() - began)
    return min(taken[2:])


def create_model(name: str) -> nn.Module:
    """The plain formulation, or ours."""
    if name == PLAIN:
        return PlainCTRGCN(CLASSES)
    backbone = create_backbone("ctrgcn", layout=LAYOUTS["ntu25"], num_bodies=2, clip_length=FRAMES)
    return nn.Sequential(backbone, backbone.create_classifier(CLASSES))


if __name__ == "__main__":
    main()
