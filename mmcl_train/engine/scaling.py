"""How cost grows with clips, joints, bodies and batch, and what several runs or processes on one machine bring."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import LAYOUTS, Cache, UserError
from mmcl_train.backbones import create_backbone
from mmcl_train.config import RunConfig
from mmcl_train.settings import override

from .assembly import create_task_of
from .bench import create_optimiser_of
from .bench_data import name_protocol, write_ragged_cache
from .inputs import InputLoader, Inputs, resolve
from .stopwatch import Times, describe_machine, measure, time_once

# A network and clips so small that an epoch of 120,000 clips ends in minutes on a processor.
NARROW = ("model.width=0.125", "clip.length=8", "method.enabled=false", "data.val=none")
LAYOUT_NAMES = ("coco17", "nw-ucla20", "ntu25", "mediapipe33")
BASE = "25 joints, 2 bodies"


@dataclass(frozen=True)
class Sizes:
    """What the tables go over.

    Attributes:
        clips: of an epoch.
        batch: of the epochs.
        batches: of the memory table.
    """

    clips: tuple[int, ...]
    batch: int
    batches: tuple[int, ...]

    @classmethod
    def up_to(cls, samples: int, batch: int) -> Sizes:
        """Epochs of a twelfth, a half and all of the samples; memory at up to 16 clips."""
        least = min(batch, 4)
        clips = tuple(max(batch, count) for count in (samples // 12, samples // 2, samples))
        return cls(clips, batch, (least, 2 * least, 4 * least))


def bench_scaling(
    config: RunConfig, folder: Path, device: torch.device, sizes: Sizes, rounds: int
) -> Iterator[str]:
    """All tables, as lines.

    Args:
        config: whose settings the epochs take, but for their size.
        folder: for a generated cache and runs; removed by whoever made it.
        rounds: of each step that is measured alone.
    """
    yield describe_machine(device)
    cache = write_ragged_cache(folder / "cache", sizes.clips)
    yield from scale_clips(config, cache, device, sizes)
    yield from scale_inputs(device, rounds)
    yield from scale_memory(device, sizes.batches)
    yield from scale_runs(config.model.backbone, cache, folder, device, sizes)


def scale_clips(config: RunConfig, cache: Cache, device: torch.device, sizes: Sizes) -> Iterator[str]:
    """One whole epoch over each number of clips, every batch cut, trained on and stepped."""
    config = override(config, [*NARROW, f"train.batch={sizes.batch}"])
    loader = InputLoader(cache.path, device)
    yield (
        f"one epoch, {config.model.backbone} width {config.model.width:g}, {config.clip.length} frames, 1 body, "
        f"batch {sizes.batch}; recordings of 4 to 16 frames"
    )
    yield f"  {'clips':>8}{'load s':>9}{'epoch s':>9}{'processor s':>13}{'µs a clip':>11}{'MB held':>9}"
    for count in sizes.clips:
        asked = resolve(override(config, [f"data.protocol={name_protocol(count)}"]), cache.description)
        start = time.perf_counter()
        inputs = loader.load(asked, lambda line: None)
        loaded = time.perf_counter() - start
        times = train_one_epoch(asked, inputs)
        yield (
            f"  {len(inputs.train):>8}{loaded:9.1f}{times.wall:9.1f}{times.processor:13.1f}"
            f"{1e6 * times.work / len(inputs.train):11.0f}{inputs.train.num_bytes / 1e6:9.1f}"
        )


def train_one_epoch(config: RunConfig, inputs: Inputs) -> Times:
    """Every clip once in random order: cut, forward, backward, step, as in a run but without its records."""
    split = inputs.train
    task = create_task_of(config, inputs).to(split.device).train()
    optimiser = create_optimiser_of(task)
    generator = torch.Generator(split.device).manual_seed(1)
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(1))

    def epoch() -> None:
        for rows in order.split(config.train.batch):
            optimiser.zero_grad(set_to_none=True)
            task(split.batch(rows, generator, train=True)).losses.total.backward()
            optimiser.step()

    return time_once(epoch, split.device)


def scale_inputs(device: torch.device, rounds: int, batch: int = 16, frames: int = 16) -> Iterator[str]:
    """A training step of a narrow CTR-GCN by joints and by bodies, against what as many times the work would take."""
    steps, shares = {}, {}
    for layout, bodies in [(name, 2) for name in LAYOUT_NAMES] + [("ntu25", count) for count in (1, 3, 4)]:
        joints = LAYOUTS[layout].num_joints
        x = torch.randn(batch, 3, frames, joints, bodies, device=device)
        name = f"{joints} joints, {bodies} bodies"
        steps[name] = create_step(create_narrow(layout, bodies, frames).to(device), x)
        shares[name] = joints * bodies / 50
    found = measure(steps, rounds, device)
    yield f"training step, ctrgcn width 0.25, {frames} frames, batch {batch}; against {BASE}"
    yield f"  {'':<24}{'ms a clip':>11}{'time':>8}{'size':>8}"
    for name, times in found.items():
        yield f"  {name:<24}{1e3 * times.work / batch:11.3f}{times.work / found[BASE].work:8.2f}{shares[name]:8.2f}"


def scale_memory(device: torch.device, batches: Sequence[int]) -> Iterator[str]:
    """What a step of CTR-GCN of full size keeps for its backward pass, and on a GPU the most it ever holds."""
    yield "memory of one step, ctrgcn width 1, 64 frames, 2 bodies, float32"
    yield f"  {'batch':>8}{'MB kept for backward':>22}{'MB a clip':>11}{'MB at most':>14}"
    model = create_narrow("ntu25", 2, 64, width=1.0).to(device)
    for batch in batches:
        most = "not measured"
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        kept = count_kept(model, torch.randn(batch, 3, 64, 25, 2, device=device)) / 1e6
        if device.type == "cuda":
            create_step(model, torch.randn(batch, 3, 64, 25, 2, device=device))()
            most = f"{torch.cuda.max_memory_allocated(device) / 1e6:.0f}"
        yield f"  {batch:>8}{kept:22.0f}{kept / batch:11.1f}{most:>14}"


def count_kept(model: nn.Module, x: Tensor) -> int:
    """Bytes that a forward pass leaves for the backward pass, weights apart, each piece of memory once."""
    own = {value.untyped_storage().data_ptr() for value in (*model.parameters(), *model.buffers())}
    pieces: dict[int, int] = {}

    def note(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            pieces[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        out = model(x)
    del out
    return sum(pieces.values())


def scale_runs(
    backbone: str, cache: Cache, folder: Path, device: torch.device, sizes: Sizes
) -> Iterator[str]:
    """Two runs after one another and at a time, then one run in one process and in two, as the commands do them."""
    count = sizes.clips[0]
    yield f"whole commands, start included: one epoch of {count} clips a run"
    yield f"  {'':<34}{'wall s':>9}{'processor s':>13}{'clips/s':>9}"
    common = ["--cache", str(cache.path), "--protocol", name_protocol(count), "--epochs", "1"]
    common += ["--no-mmcl", "--backbone", backbone, "--device", device.type]
    for setting in (*NARROW, f"train.batch={sizes.batch}"):
        common += ["--set", setting]
    for jobs in (1, 2):
        asked = ["sweep", *common, "--seed", "1", "--seed", "2", "--jobs", str(jobs)]
        asked += ["--out", str(folder / f"jobs-{jobs}")]
        yield show_command(f"two runs, --jobs {jobs}", time_commands([asked], [{}]), 2 * count)
    for processes in (1, 2):
        asked = ["run", *common, "--out", str(folder / f"processes-{processes}")]
        if device.type == "cuda" and processes > torch.cuda.device_count():
            yield f"  {'one run, two processes':<34} not measured (one GPU)"
            continue
        times = time_commands([asked] * processes, join_processes(processes, device))
        yield show_command(f"one run, {processes} process{'es' * (processes > 1)}", times, count)


def show_command(name: str, times: Times, clips: int) -> str:
    """One line."""
    return f"  {name:<34}{times.wall:9.1f}{times.processor:13.1f}{clips / times.wall:9.0f}"


def join_processes(count: int, device: torch.device) -> list[dict[str, str]]:
    """The environment of each of `count` processes that train together on this machine."""
    if count == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if device.type == "cpu":
        shared["ACCELERATE_USE_CPU"] = "1"
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def time_commands(commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]]) -> Times:
    """Wall and processor seconds of commands of `mmcl-train` that run at the same time.

    Raises:
        UserError: one of them failed; its last line is told.
    """
    wall, before = time.perf_counter(), os.times()
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "mmcl_train.cli", *command],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command, environment in zip(commands, environments, strict=True)
    ]
    said = [process.communicate()[1] for process in running]
    for process, text in zip(running, said, strict=True):
        if process.returncode:
            last = (text.strip().splitlines() or ["it said nothing"])[-1]
            raise UserError(f"`mmcl-train {commands[0][0]}` of the bench failed: {last}")
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Times(time.perf_counter() - wall, spent)


def create_narrow(layout: str, bodies: int, frames: int, width: float = 0.25) -> nn.Module:
    """CTR-GCN and a classifier of 120."""
    backbone = create_backbone(
        "ctrgcn", layout=LAYOUTS[layout], num_bodies=bodies, clip_length=frames, in_channels=3, width=width
    )
    return nn.Sequential(backbone, backbone.create_classifier(120)).train()


def create_step(model: nn.Module, joints: Tensor) -> Callable[[], None]:
    """Forward, cross-entropy, backward, optimiser."""
    optimiser = create_optimiser_of(model)
    labels = torch.arange(len(joints), device=joints.device)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(model(joints), labels).backward()
        optimiser.step()

    return step
