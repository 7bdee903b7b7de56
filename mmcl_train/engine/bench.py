"""What co-learning costs on this machine, batches against single clips, a cached feature against a CNN in the loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from mmcl_train.backbones.plain_ctrgcn import PlainCTRGCN
from mmcl_train.config import RunConfig
from mmcl_train.data.batch import Batch
from mmcl_train.data.resident import ResidentSplit
from mmcl_train.kernels import describe_kernels
from mmcl_train.method.fam import FeatureAlignment
from mmcl_train.method.online import create_online_cnn
from mmcl_train.method.task import CoLearningTask

from .assembly import create_model_of, create_task_of
from .floors import PUBLISHED_PEAKS, Peaks, count_distinct, count_layers, measure_peaks, total_of
from .inputs import Inputs
from .optimiser import create_optimiser
from .plain_batches import cut_one_by_one
from .stopwatch import describe_machine, measure, ratio, show

ASSEMBLED = 64  # clips of the batch-assembly measure
IMAGE = 299
CO_LEARNING, SKELETON, PLAIN = "co-learning", "skeleton-only", "skeleton-only, plain formulation"
FORWARD, AT_ONCE, ONE_BY_ONE = "forward only", f"{ASSEMBLED} at once", "one by one"


def bench(
    config: RunConfig, inputs: Inputs, recordings: Sequence[np.ndarray], *, rounds: int, cnn: str
) -> Iterator[str]:
    """Lines of measurements: medians over `rounds`, the things compared taken in turn so that a busy machine hits both.

    Args:
        config: resolved, with co-learning.
        inputs: of it.
        recordings: of `plain_batches.read_padded`, for the clips made one by one.
        rounds: of each measure.
        cnn: trained in the loop for the cached-against-online measure; "" leaves it out.
    """
    split, device = inputs.train, inputs.train.device
    rows = torch.arange(config.train.batch) % len(split)
    batch = split.batch(rows, torch.Generator(device).manual_seed(1), train=True)
    yield describe_machine(device)
    yield describe_components(device)
    yield (
        f"{config.model.backbone}, width {config.model.width:g}, {split.settings.clip.length} frames, "
        f"{split.num_bodies} bodies, batch {len(batch)}; medians of {rounds} rounds; ratios are of "
        f"{'time' if device.type == 'cuda' else 'processor time'}"
    )
    peaks = measure_peaks(device, torch.float32, rounds)
    yield (
        f"floors: by {peaks.flops / 1e9:.0f} GFLOP/s of a large matrix product and "
        f"{peaks.bytes / 1e9:.1f} GB/s of a large copy, measured now"
    )
    yield from bench_steps(config, inputs, batch, rounds, peaks)
    yield from bench_batches(split, recordings, max(rounds, 10), peaks)
    if cnn:
        yield from bench_online(config, inputs, batch, rounds, cnn)


def bench_layers(config: RunConfig, inputs: Inputs, rounds: int) -> Iterator[str]:
    """The least work of each layer in a training step, and its floor here and on machines of published figures."""
    split = inputs.train
    here = measure_peaks(split.device, torch.float32, rounds)
    yield describe_machine(split.device)
    shape = (
        config.train.batch,
        split.channels,
        config.clip.length,
        inputs.description.layout.num_joints,
        split.num_bodies,
    )
    yield f"{config.model.backbone}, width {config.model.width:g}, joints {shape}; floors in ms a step"
    machines = (here, *PUBLISHED_PEAKS)
    for peaks in machines:
        yield f"  {peaks.name}: {peaks.flops / 1e12:.3f} TFLOP/s, {peaks.bytes / 1e9:.1f} GB/s" + (
            "" if peaks is here else " (as published: computed, not measured)"
        )
    narrow = count_layers(create_model_of(config, inputs), shape, item_bytes=2)
    wide = count_layers(create_model_of(config, inputs), shape)
    yield f"  {'layer':<24}{'GFLOP':>9}{'MB':>9}" + "".join(f"{peaks.name:>15}" for peaks in machines)
    for layer, half in zip([*wide, total_of(wide)], [*narrow, total_of(narrow)], strict=True):
        if layer.flops:
            floors = ((half if "bfloat16" in peaks.name else layer).seconds(peaks) for peaks in machines)
            row = f"  {layer.name.removeprefix('backbone.'):<24}{layer.flops / 1e9:9.2f}{layer.bytes / 1e6:9.1f}"
            yield row + "".join(f"{1e3 * floor:15.3f}" for floor in floors)


def describe_components(device: torch.device) -> str:
    """What computes which part of a step, in one line."""
    library = f"cuDNN {torch.backends.cudnn.version()}" if device.type == "cuda" else "oneDNN"
    return f"{describe_kernels(device)}; convolutions: {library}; sums, clips: torch"


def bench_steps(config: RunConfig, inputs: Inputs, batch: Batch, rounds: int, peaks: Peaks) -> Iterator[str]:
    """Training steps with and without co-learning, the plain formulation's where there is one, and forward alone."""
    device = inputs.train.device
    off = dataclasses.replace(config.method, enabled=False, auxiliary="none")
    skeleton = create_task_of(dataclasses.replace(config, method=off), inputs).to(device)
    parts = {
        CO_LEARNING: training_step(create_task_of(config, inputs).to(device), batch),
        SKELETON: training_step(skeleton, batch),
    }
    if config.model.backbone == "ctrgcn":
        parts[PLAIN] = plain_step(config, inputs, batch)
    found = measure(parts, rounds, device)
    model, share = create_model_of(config, inputs), count_distinct(batch.joints)
    least = total_of(count_layers(model, batch.joints.shape, share=share)).seconds(peaks)
    yield (
        "training step: forward, backward, optimiser; the floor is the skeleton model's, with the "
        f"{share:.0%} of the bodies that are not absent"
    )
    yield from show(found, len(batch), dict.fromkeys(parts, least))
    yield ratio("co-learning : skeleton-only", found[CO_LEARNING], found[SKELETON])
    if PLAIN in found:
        yield ratio("plain : ours", found[PLAIN], found[SKELETON])

    skeleton.model.eval()

    @torch.no_grad()
    def forward() -> None:
        skeleton.model(batch.joints)

    found = measure({FORWARD: forward}, rounds, device)
    layers = count_layers(create_model_of(config, inputs), batch.joints.shape, training=False, share=share)
    yield from show(found, len(batch), {FORWARD: total_of(layers).seconds(peaks)})
    yield f"  {'':<34} {len(batch) / found[FORWARD].wall:10.0f} clips/s"


def bench_batches(
    split: ResidentSplit, recordings: Sequence[np.ndarray], rounds: int, peaks: Peaks
) -> Iterator[str]:
    """Training clips cut for a whole batch, against one by one as a data loader's worker does."""
    generator, on_host = torch.Generator(split.device).manual_seed(1), np.random.default_rng(1)
    clip = split.settings.clip
    some = torch.arange(ASSEMBLED) % len(split)
    found = measure(
        {
            AT_ONCE: lambda: split.batch(some, generator, train=True),
            ONE_BY_ONE: lambda: cut_one_by_one(some.tolist(), recordings, clip, on_host),
        },
        rounds,
        split.device,
    )
    yield (
        "training clips cut, resized and turned; one by one as the published feeder does it, on the host; "
        "the floor reads and writes each clip once"
    )
    moved = 2 * split.batch(some[:1], generator, train=True).joints.nbytes * ASSEMBLED
    yield from show(found, ASSEMBLED, {AT_ONCE: moved / peaks.bytes})
    yield ratio("one by one : at once", found[ONE_BY_ONE], found[AT_ONCE])


def bench_online(config: RunConfig, inputs: Inputs, batch: Batch, rounds: int, cnn: str) -> Iterator[str]:
    """A step with the cached RGB feature against one that trains the CNN on random strips (their decoding left out)."""
    device = inputs.train.device
    cached = create_task_of(config, inputs).to(device)
    network = create_online_cnn(cnn)
    model = create_task_of(config, inputs)
    fam = FeatureAlignment(network.num_features, model.model.backbone.num_features)
    online = CoLearningTask(model.model, fam, model.frm, model.weights, cnn=network).to(device)
    images = torch.randint(0, 256, (len(batch), 3, IMAGE, IMAGE), dtype=torch.uint8, device=device)
    seen = dataclasses.replace(batch, rgb=None, images=images)
    name = f"online, {cnn}"
    found = measure(
        {"cached": training_step(cached, batch), name: training_step(online, seen)}, rounds, device
    )
    yield f"co-learning step, RGB feature from the cache or from a CNN in the loop ({IMAGE}×{IMAGE})"
    yield from show(found, len(batch))
    yield ratio("online : cached", found[name], found["cached"])


def create_plain(config: RunConfig, inputs: Inputs) -> PlainCTRGCN:
    """CTR-GCN written out, of the sizes of a resolved config."""
    return PlainCTRGCN(
        inputs.description.num_classes,
        joints=inputs.description.layout.num_joints,
        bodies=inputs.train.num_bodies,
        in_channels=inputs.train.channels,
        base=round(64 * config.model.width),
    )


def plain_step(config: RunConfig, inputs: Inputs, batch: Batch) -> Callable[[], None]:
    """A skeleton-only step of CTR-GCN written out subset by subset and branch by branch, of the same size."""
    model = create_plain(config, inputs).to(inputs.train.device)
    optimiser = create_optimiser_of(model)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(model(batch.joints), batch.labels).backward()
        optimiser.step()

    return step


def training_step(task: CoLearningTask, batch: Batch) -> Callable[[], None]:
    """Forward, backward and optimiser step on one batch."""
    optimiser = create_optimiser_of(task)
    task.train()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        task(batch).losses.total.backward()
        optimiser.step()

    return step


def create_optimiser_of(module: nn.Module) -> SGD:
    """The published optimiser, with steps too small to change what is measured."""
    return create_optimiser(module, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=4e-4)
