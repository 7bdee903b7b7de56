"""What co-learning costs on this machine, batches against single clips, a cached feature against a CNN in the loop."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_cache.store import Cache
from mmcl_train.config import RunConfig
from mmcl_train.data.batch import Batch
from mmcl_train.data.clips import ClipSettings
from mmcl_train.data.resident import ResidentSplit
from mmcl_train.data.rotation import rotation_matrices
from mmcl_train.method.fam import FeatureAlignment
from mmcl_train.method.online import create_online_cnn
from mmcl_train.method.task import CoLearningTask

from .assembly import create_task_of
from .inputs import Inputs
from .optimiser import create_optimiser

ASSEMBLED = 64  # clips of the batch-assembly measure
IMAGE = 299


def bench(
    config: RunConfig, inputs: Inputs, recordings: Sequence[Tensor], *, rounds: int, cnn: str
) -> Iterator[str]:
    """Lines of measurements: medians over `rounds`, the things compared taken in turn so that a busy machine hits both.

    Args:
        config: resolved, with co-learning.
        inputs: of it.
        recordings: of `read_recordings`, for the clips made one by one.
        rounds: of each measure.
        cnn: trained in the loop for the cached-against-online measure; "" leaves it out.
    """
    split, device = inputs.train, inputs.train.device
    generator = torch.Generator(device).manual_seed(1)
    rows = torch.arange(config.train.batch) % len(split)
    batch = split.batch(rows, generator, train=True)
    plain = dataclasses.replace(config, method=dataclasses.replace(config.method, enabled=False))
    tasks = {
        "co-learning step": create_task_of(config, inputs),
        "skeleton-only step": create_task_of(plain, inputs),
    }
    steps = {name: training_step(task.to(device), batch) for name, task in tasks.items()}
    size = config.train.batch
    found = measure(steps, rounds, device)
    yield f"{config.model.backbone}, {split.settings.clip.length} frames, batch {size}, {device}, median of {rounds}"
    yield from (f"  {name:<28} {1e3 * seconds / size:8.2f} ms a clip" for name, seconds in found.items())
    yield ratio("co-learning : skeleton-only", *found.values())

    model = tasks["skeleton-only step"].model.eval()

    @torch.no_grad()
    def forward() -> None:
        model(batch.joints)

    seconds = measure({"forward": forward}, rounds, device)["forward"]
    yield f"  {'forward only':<28} {1e3 * seconds / size:8.2f} ms a clip, {size / seconds:.0f} clips/s"

    on_host = torch.Generator().manual_seed(1)
    some = torch.arange(ASSEMBLED) % len(split)
    parts = {
        f"batch of {ASSEMBLED} at once": lambda: split.batch(some, generator, train=True),
        "clip by clip": lambda: cut_one_by_one(recordings, split.settings.clip, on_host),
    }
    found = measure(parts, max(rounds, 10), device)
    yield "clips cut, turned and resized (one by one: by the crop-resize rule, on the host)"
    yield from (f"  {name:<28} {1e3 * seconds / ASSEMBLED:8.4f} ms a clip" for name, seconds in found.items())
    yield ratio("clip by clip : batch", *reversed(found.values()))

    if cnn:
        yield from bench_online(config, inputs, batch, rounds, cnn)


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
    found = measure(
        {"cached": training_step(cached, batch), f"online, {cnn}": training_step(online, seen)},
        rounds,
        device,
    )
    yield f"RGB feature from the cache, or from a CNN in the loop ({IMAGE}×{IMAGE})"
    yield from (
        f"  {name:<28} {1e3 * seconds / len(batch):8.2f} ms a clip" for name, seconds in found.items()
    )
    yield ratio("online : cached", *reversed(found.values()))


def training_step(task: CoLearningTask, batch: Batch) -> Callable[[], None]:
    """Forward, backward and optimiser step on one batch."""
    optimiser = create_optimiser(task, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=4e-4)
    task.train()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        task(batch).losses.total.backward()
        optimiser.step()

    return step


def measure(parts: Mapping[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each part over the rounds, one of each a round, after one unmeasured round."""
    times: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds + 1):
        for name, part in parts.items():
            _wait(device)
            began = time.perf_counter()
            part()
            _wait(device)
            if number:
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def read_recordings(cache: Cache, split: ResidentSplit) -> list[Tensor]:
    """The first samples of a split as (C, T, V, M) tensors on the host, as a feeder holds them."""
    columns = cache.field("skeleton", split.settings.skeleton_variant).load(split.sample_ids[:ASSEMBLED])
    found = []
    for n, (frames, bodies) in enumerate(
        zip(columns["frames"].tolist(), columns["bodies"].tolist(), strict=True)
    ):
        stored = torch.from_numpy(
            columns["joints"][n].reshape(frames, bodies, *columns["joints"].flat.shape[1:])
        )
        joints = torch.zeros(stored.shape[3], frames, stored.shape[2], split.num_bodies)
        joints[..., :bodies] = stored.permute(3, 0, 2, 1)[..., : split.num_bodies]
        found.append(joints)
    return found


def cut_one_by_one(recordings: Sequence[Tensor], clip: ClipSettings, generator: torch.Generator) -> Tensor:
    """Crop-resize clips made one after the other, as a data loader's worker does: crop, interpolate, turn."""
    made = []
    for n in range(ASSEMBLED):
        joints_CTVM = recordings[n % len(recordings)]
        frames = joints_CTVM.shape[1]
        share = clip.crop[0] + (clip.crop[1] - clip.crop[0]) * float(torch.rand((), generator=generator))
        length = min(max(int(frames * share), clip.shortest), frames)
        begin = int(torch.randint(0, frames - length + 1, (), generator=generator))
        cut = joints_CTVM[:, begin : begin + length]
        channels, _, joints, bodies = cut.shape
        flat = cut.permute(0, 2, 3, 1).reshape(1, channels * joints * bodies, length)
        flat = F.interpolate(flat, size=clip.length, mode="linear", align_corners=False)
        resized = flat.reshape(channels, joints, bodies, clip.length).permute(0, 3, 1, 2)
        angles = (2 * torch.rand((1, 3), generator=generator) - 1) * clip.rotation
        made.append(torch.einsum("ij,jtvm->itvm", rotation_matrices(angles)[0], resized))
    return torch.stack(made)


def ratio(name: str, first: float, second: float) -> str:
    """One line."""
    return f"  {name:<28} {first / second:8.3f}"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
