"""Bytes that one training step moves through memory, for each way of running it, against the fewest possible."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_cache.store import UserError
from mmcl_train.backbones.absent import find_absent, merge_absent
from mmcl_train.config import RunConfig
from mmcl_train.data.batch import Batch
from mmcl_train.data.resident import ROWS_MULTIPLE
from mmcl_train.kernels import fused_anywhere, set_kernels

from .assembly import create_model_of, create_task_of
from .bench import create_optimiser_of, create_plain
from .compiled_traffic import count_compiled_step
from .floors import count_distinct, count_layers, total_of
from .inputs import Inputs
from .traffic import Module, Moved, Step, count_step

# Bytes a second between a GPU and its memory, as NVIDIA publishes them for the SXM boards.
BANDWIDTHS = {"H200": 4.8e12, "H100": 3.35e12}
MOST = 10  # operations shown
PLAIN = "plain formulation, float32"


@dataclasses.dataclass(frozen=True)
class Way:
    """One way of running the step: what the table calls it, and how it is counted."""

    name: str
    step: Step
    fused: bool = False
    compiled: bool = False
    reorder: bool = False

    def count(self) -> Moved:
        """Raises UserError where this machine cannot show it."""
        if self.compiled and importlib.util.find_spec("triton") is None:
            raise UserError("triton is not installed")
        set_kernels("auto" if self.fused else "plain")
        try:
            with fused_anywhere() if self.fused else nullcontext():
                if self.compiled:
                    return count_compiled_step(self.step, reorder=self.reorder)
                return count_step(self.step)
        finally:
            set_kernels("auto")


def bench_traffic(config: RunConfig, inputs: Inputs) -> Iterator[str]:
    """A table of the ways, the floors under it, and the operations that move most.

    Args:
        config: resolved.
        inputs: of it.
    """
    batch = read_batch(config, inputs)
    share = count_distinct(batch.joints)
    yield (
        f"{config.model.backbone}, width {config.model.width:g}, joints {tuple(batch.joints.shape)}, {share:.0%} of "
        "the bodies not absent; one step: forward, backward, optimiser"
    )
    yield (
        "bytes are counted operation by operation from shapes, as for a GPU; nothing is run. ms: at the published "
        + ", ".join(f"{bandwidth / 1e12:g} TB/s ({name})" for name, bandwidth in BANDWIDTHS.items())
        + ", computed, not measured"
    )
    floors = {}
    for name, size in (("float32", 4), ("bfloat16", 2)):
        layers = count_layers(
            create_model_of(config, inputs), batch.joints.shape, item_bytes=size, share=share
        )
        floors[name] = total_of(layers).bytes
    yield (
        f"  {'':<42}{'GB':>8}{'MB/clip':>9}{'operations':>12}{'÷ floor':>9}{'kept, GB':>10}{'÷ 2·kept':>10}"
        + "".join(f"{'ms ' + name:>9}" for name in BANDWIDTHS)
    )
    shown: list[tuple[Way, Moved]] = []
    for way in list_ways(config, inputs, batch):
        try:
            moved = way.count()
        except UserError as why:
            yield f"  {way.name:<42} not counted ({why})"
            continue
        shown.append((way, moved))
        floor = floors["bfloat16" if way.step.narrow else "float32"]
        yield (
            f"  {way.name:<42}{moved.bytes / 1e9:8.3f}{moved.bytes / 1e6 / len(batch):9.1f}"
            f"{moved.calls.total():12d}{moved.bytes / floor:9.2f}{moved.kept / 1e9:10.3f}"
            f"{moved.bytes / (2 * moved.kept):10.2f}"
            + "".join(f"{1e3 * moved.bytes / bandwidth:9.2f}" for bandwidth in BANDWIDTHS.values())
        )
    yield (
        "floor: inputs of layers with weights written once and read once, and the weights: "
        + ", ".join(f"{floor / 1e9:.3f} GB in {name}" for name, floor in floors.items())
    )
    yield "kept: what autograd holds for the backward pass; 2·kept is that, written once and read once"
    for some in (shown, [one for one in shown if not one[0].compiled]):
        way, moved = min(some, key=lambda one: one[1].bytes)
        yield from show_most(way.name, moved)


def list_ways(config: RunConfig, inputs: Inputs, batch: Batch) -> Iterator[Way]:
    """The plain formulation first, where there is one."""
    if config.model.backbone == "ctrgcn":
        plain = Step(lambda: create_plain(config, inputs), batch, loss_of_model, create_optimiser_of)
        yield Way(PLAIN, plain)
    wide = Step(lambda: create_task_of(config, inputs), batch, loss_of_task, create_optimiser_of)
    narrow = dataclasses.replace(wide, narrow=True)
    yield Way("ours, float32, plain kernels", wide)
    yield Way("ours, bfloat16, plain kernels", narrow)
    yield Way("ours, bfloat16, fused kernels", narrow, fused=True)
    compiled = Way("ours, bfloat16, fused kernels, compiled", narrow, fused=True, compiled=True)
    yield compiled
    # The compiler turns tensors for convolutions, and back for what wants the joints innermost.
    yield dataclasses.replace(compiled, name="the same, turned for convolutions", reorder=True)


def loss_of_model(model: Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch.joints), batch.labels)


def loss_of_task(task: Module, batch: Batch) -> Tensor:
    loss: Tensor = task(batch).losses.total
    return loss


def read_batch(config: RunConfig, inputs: Inputs) -> Batch:
    """The first clips of the training split on the host, with the bodies that a GPU would compute."""
    split = inputs.train
    rows = torch.arange(config.train.batch) % len(split)
    batch = split.batch(rows, torch.Generator(split.device).manual_seed(1), train=True).to(
        torch.device("cpu")
    )
    bodies = merge_absent(find_absent(batch.joints), ROWS_MULTIPLE) if split.num_bodies > 1 else None
    return dataclasses.replace(batch, bodies=bodies)


def show_most(name: str, moved: Moved) -> Iterator[str]:
    """The operations that move most: the next obstacle."""
    yield f"most bytes of: {name}"
    for operation, count in moved.by_name.most_common(MOST):
        yield (
            f"  {operation:<42}{count / 1e9:8.3f} GB{count / moved.bytes:7.0%}{moved.calls[operation]:8d} times"
        )
