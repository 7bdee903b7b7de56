"""From config, inputs and folder to a run ready to go on where it stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from mmcl_cache.store import UserError
from mmcl_cache.terminal.display import Display
from mmcl_train.config import RunConfig
from mmcl_train.data.clips import create_transform
from mmcl_train.kernels import describe_kernels, set_kernels
from mmcl_train.settings import flatten

from .allocator import keep_freed_memory
from .assembly import create_task_of
from .environment import choose_device, describe_environment
from .folder import RunFolder, write_json
from .inputs import Inputs
from .optimiser import create_optimiser
from .parallel import num_processes, use_global_batchnorm
from .progress import Progress
from .run import Run, restore
from .tracker import Tracker
from .window import LossWindow

# The graph product and the norms want joints innermost: tensors that the compiler turns for the convolutions are
# turned back for these, which is a half more traffic (`mmcl-train bench --traffic`).
COMPILER: dict[str, Any] = {"layout_optimization": False}


def create_accelerator(config: RunConfig) -> Accelerator:
    """accelerate's device, precision and process group of a config.

    Raises:
        UserError: no such device, a tracker that is not installed, or a batch that the processes cannot share.
    """
    device = choose_device(config.train.device)
    if device.type == "cpu":
        keep_freed_memory()
    set_kernels(config.train.kernels, device)
    if (
        AcceleratorState._shared_state
    ):  # a run before this one in the same process (a sweep) may have had another precision
        AcceleratorState._reset_state()
    try:
        accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision="bf16" if config.train.precision == "bf16" else "no",
            log_with=list(config.train.trackers) or None,
        )
    except (ValueError, ImportError) as error:
        raise UserError(f"train.precision or train.trackers: {error}") from None
    parts = accelerator.num_processes * config.train.accumulation
    if config.train.batch % parts:
        raise UserError(
            f"train.batch {config.train.batch} cannot be shared by {accelerator.num_processes} processes in "
            f"{config.train.accumulation} parts each"
        )
    return accelerator


def start_run(
    config: RunConfig,
    inputs: Inputs,
    folder: RunFolder,
    accelerator: Accelerator,
    display: Display | None = None,
) -> Run:
    """Build the task and optimiser, load the last checkpoint if there is one, and open the trackers."""
    device, main, train = accelerator.device, accelerator.is_main_process, inputs.train
    task = create_task_of(config, inputs)
    if config.train.sync_batchnorm:
        use_global_batchnorm(task)
    task.to(device)
    optimiser = create_optimiser(task, **dataclasses.asdict(config.optimiser))
    position, metrics_bytes = restore(folder, task, optimiser)
    module, _ = accelerator.prepare(task, optimiser)
    if config.train.compile:
        module = torch.compile(module, options=dict(COMPILER))
    batches = len(train) * config.data.repeat // config.train.batch
    total = config.schedule.epochs * batches * config.train.batch
    progress = Progress(total, position.step * config.train.batch, display if display and main else Display())
    for line in describe_batch(config, accelerator):
        progress.line(line)
    if task.model.backbone.remark:
        progress.line(task.model.backbone.remark)
    if position.step:
        progress.line(f"going on from epoch {position.epoch + 1}, step {position.step}")
    if main:
        write_json(folder.path / "environment.json", describe_environment(device))
    if config.train.trackers:
        settings = {key: str(value) for key, value in flatten(dataclasses.asdict(config))}
        accelerator.init_trackers("mmcl", config=settings)
    return Run(
        config=config,
        inputs=inputs,
        folder=folder,
        accelerator=accelerator,
        task=task,
        module=module,
        optimiser=optimiser,
        generator=torch.Generator(device),
        clip_transform=create_transform(
            train.settings.clip, train.num_bodies, train.channels, train.most_frames, device
        ),
        position=position,
        window=LossWindow(name_samples(inputs)),
        tracker=Tracker(folder.path, metrics_bytes, position.step, accelerator) if main else None,
        progress=progress,
    )


def name_samples(inputs: Inputs) -> Callable[[Tensor], list[str]]:
    """Rows of the training split → sample ids."""
    return lambda rows: inputs.train.sample_ids[rows.cpu().numpy()].tolist()


def describe_batch(config: RunConfig, accelerator: Accelerator) -> list[str]:
    """What a step is made of, in words."""
    train, processes = config.train, num_processes()
    lines = [
        f"device {accelerator.device}, {train.precision}, batch {train.batch}",
        describe_kernels(accelerator.device),
    ]
    if processes > 1 or train.accumulation > 1:
        lines.append(
            f"each step: {processes} processes × {train.accumulation} parts of "
            f"{train.batch // processes // train.accumulation} clips; batch-norm statistics over "
            f"{'all processes of a part' if train.sync_batchnorm else 'one part of one process'}"
        )
    if config.method.enabled and config.method.fam:
        lines.append(f"the contrastive loss sees {train.batch // train.accumulation} clips at once")
    return lines
