"""The training loop, top to bottom."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcl_cache.terminal.display import Display
from mmcl_cache.terminal.live import open_display
from mmcl_train.config import RunConfig
from mmcl_train.data.batch import Batch
from mmcl_train.method.task import TaskOutput

from .finish import finish_run, measure
from .folder import FolderLock, open_folder, read_json
from .inputs import Inputs
from .interrupt import Interrupted, InterruptFlag
from .optimiser import set_lr
from .origin import check_origin, keep_origin
from .parallel import any_process, num_processes
from .randomness import derive_seed, draw_order
from .run import Run
from .schedule import get_lr
from .start import create_accelerator, start_run
from .window import COLUMNS, average


def train(config: RunConfig, inputs: Inputs, out: Path, display: Display | None = None) -> dict[str, Any]:
    """Train, or go on training, one run in its folder; give the result of a finished one.

    Args:
        config: resolved (`inputs.resolve`).
        inputs: of the same config.
        out: the run folder.
        display: where progress is shown, open already; by default one of the mode that was asked for.

    Returns:
        What result.json holds.

    Raises:
        UserError: another run's folder, a changed cache, or a loss that is not finite.
        Interrupted: after Ctrl-C; a checkpoint is written.
    """
    accelerator = create_accelerator(config)
    with (
        FolderLock(out, held=accelerator.is_main_process),
        open_display() if display is None else nullcontext(display) as shown,
        InterruptFlag(shown.note) as interrupt,
    ):
        with accelerator.main_process_first():
            check_origin(out, inputs.origin)
            folder = open_folder(out, config, inputs.fields)
            keep_origin(out, inputs.origin)
        if folder.is_finished():
            return read_json(folder.result)
        run = start_run(config, inputs, folder, accelerator, shown)
        try:
            for epoch in range(run.position.epoch, config.schedule.epochs):
                train_epoch(run, epoch, interrupt)
                close_epoch(run, epoch)
            return finish_run(run)
        finally:
            run.close()


def train_epoch(run: Run, epoch: int, interrupt: InterruptFlag) -> None:
    """The batches of one epoch that are still to do. The order depends on (seed, epoch) alone."""
    config, at = run.config, run.position
    set_lr(run.optimiser, lr_of(config, epoch))
    order = draw_order(config.train.seed, epoch, len(run.inputs.train), config.data.repeat)
    run.module.train()
    while at.batch < run.batches:
        rows = order[at.batch * config.train.batch : (at.batch + 1) * config.train.batch]
        run.window.add(train_step(run, rows), rows)
        at.batch, at.step = at.batch + 1, at.step + 1
        look = at.step % config.train.check_every == 0
        if look:
            run.look()
        if (look or num_processes() == 1) and any_process(interrupt.asked, run.accelerator.device):
            run.save()
            raise Interrupted(
                f"stopped at step {at.step}, epoch {epoch + 1}; saved in {run.folder.path}. "
                "The same command goes on from here"
            )
        if look and time.monotonic() - run.saved_at > 60 * config.train.checkpoint_minutes:
            run.save()


def train_step(run: Run, rows: Tensor) -> Tensor:
    """One optimiser step on a global batch: this process's share, in `accumulation` parts. Waits for nothing.

    Clips are drawn for the whole batch in every process, so that the number of processes changes no clip.

    Returns:
        (9,) sums over this process's rows, in the order of `window.COLUMNS`, on the device.
    """
    train, accelerator, step = run.config.train, run.accelerator, run.position.step
    torch.manual_seed(derive_seed("model", train.seed, step, accelerator.process_index))
    run.generator.manual_seed(derive_seed("clips", train.seed, step))
    sums = torch.zeros(len(COLUMNS), device=accelerator.device)
    run.optimiser.zero_grad(set_to_none=True)
    parts = rows.chunk(train.accumulation)
    for part in parts[:-1]:
        with accelerator.no_sync(run.module):
            sums += forward_backward(run, part, 1 / len(parts))
    sums += forward_backward(run, parts[-1], 1 / len(parts))
    run.optimiser.step()
    return sums


def forward_backward(run: Run, part: Tensor, share: float) -> Tensor:
    """Losses of this process's rows of a part, their gradients times `share` added to the parameters'; (9,) sums."""
    batch = cut_batch(run, part)
    output = run.module(batch)
    run.accelerator.backward(output.losses.total * share)
    return count(output, batch)


def cut_batch(run: Run, part: Tensor) -> Batch:
    """This process's rows of a part, with the clips that one process alone would have drawn for them."""
    split, rank = run.inputs.train, run.accelerator.process_index
    if num_processes() == 1:
        return split.batch(part, run.generator, train=True)
    size = len(part) // num_processes()
    own = slice(rank * size, (rank + 1) * size)
    draws = run.clip_transform.draw(len(part), run.generator)[own]
    return split.batch(part[own], None, train=True, draws=draws)


@torch.no_grad()
def count(output: TaskOutput, batch: Batch) -> Tensor:
    """(9,) sums of one part, in the order of `window.COLUMNS`."""
    rows, losses = len(batch), output.losses
    sums = [
        loss * rows
        for loss in (
            losses.total,
            losses.classification,
            losses.contrastive,
            losses.refinement,
            losses.auxiliary,
        )
    ]
    sums.append((output.logits.argmax(dim=1) == batch.labels).sum())
    sums.append(torch.full_like(losses.total, rows))
    sums += [batch.rgb_valid.sum(), batch.text_valid.sum()]
    return torch.stack([value.detach().float() for value in sums])


def close_epoch(run: Run, epoch: int) -> None:
    """Look, measure, record, and step on to the next epoch's checkpoint."""
    run.look()
    config, at = run.config, run.position
    losses = average(at.sums, config.method.auxiliary)
    record = {"epoch": epoch + 1, "lr": lr_of(config, epoch), **losses, **measure(run, epoch)}
    run.progress.epoch(record, config.schedule.epochs)
    if run.tracker is not None:
        run.tracker.write(at.step, record)
    at.epoch, at.batch = epoch + 1, 0
    at.sums[:] = 0
    run.save()


def lr_of(config: RunConfig, epoch: int) -> float:
    """Learning rate of an epoch of this config."""
    schedule = config.schedule
    return get_lr(
        epoch, base=config.optimiser.lr, warmup=schedule.warmup, steps=schedule.steps, gamma=schedule.gamma
    )
