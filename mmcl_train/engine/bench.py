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
from mmcl_train.method.fam import FeatureAlignment
from mmcl_train.method.online import create_online_cnn
from mmcl_train.method.task import CoLearningTask

from .assembly import create_task_of
from .inputs import Inputs
from .optimiser import create_optimiser
from .plain_batches import cut_one_by_one
from .stopwatch import describe_machine, measure, ratio, show

ASSEMBLED = 64  # clips of the batch-assembly measure
IMAGE = 299
CO_LEARNING, SKELETON, PLAIN = "co-learning", "skeleton-only", "skeleton-only, plain formulation"


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
    yield (
        f"{config.model.backbone}, width {config.model.width:g}, {split.settings.clip.length} frames, "
        f"{split.num_bodies} bodies, batch {len(batch)}; medians of {rounds} rounds; ratios are of "
        f"{'time' if device.type == 'cuda' else 'processor time'}"
    )
    yield from bench_steps(config, inputs, batch, rounds)
    yield from bench_batches(split, recordings, max(rounds, 10))
    if cnn:
        yield from bench_online(config, inputs, batch, rounds, cnn)


def bench_steps(config: RunConfig, inputs: Inputs, batch: Batch, rounds: int) -> Iterator[str]:
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
    yield "training step: forward, backward, optimiser"
    yield from show(found, len(batch))
    yield ratio("co-learning : skeleton-only", found[CO_LEARNING], found[SKELETON])
    if PLAIN in found:
        yield ratio("plain : ours", found[PLAIN], found[SKELETON])

    model = skeleton.model.eval()

    @torch.no_grad()
    def forward() -> None:
        model(batch.joints)

    found = measure({"forward only": forward}, rounds, device)
    yield from show(found, len(batch))
    yield f"  {'':<34} {len(batch) / found['forward only'].wall:10.0f} clips/s"


def bench_batches(split: ResidentSplit, recordings: Sequence[np.ndarray], rounds: int) -> Iterator[str]:
    """Training clips cut for a whole batch, against one by one as a data loader's worker does."""
    generator, on_host = torch.Generator(split.device).manual_seed(1), np.random.default_rng(1)
    clip = split.settings.clip
    some = torch.arange(ASSEMBLED) % len(split)
    at_once = f"{ASSEMBLED} at once"
    found = measure(
        {
            at_once: lambda: split.batch(some, generator, train=True),
            "one by one": lambda: cut_one_by_one(some.tolist(), recordings, clip, on_host),
        },
        rounds,
        split.device,
    )
    yield "training clips cut, resized and turned; one by one as the published feeder does it, on the host"
    yield from show(found, ASSEMBLED)
    yield ratio("one by one : at once", found["one by one"], found[at_once])


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


def plain_step(config: RunConfig, inputs: Inputs, batch: Batch) -> Callable[[], None]:
    """A skeleton-only step of CTR-GCN written out subset by subset and branch by branch, of the same size."""
    split = inputs.train
    model = PlainCTRGCN(
        inputs.description.num_classes,
        joints=inputs.description.layout.num_joints,
        bodies=split.num_bodies,
        in_channels=split.channels,
        base=round(64 * config.model.width),
    ).to(split.device)
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
