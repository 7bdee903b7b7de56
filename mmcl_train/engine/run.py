"""A run in progress: its modules, where it stands, and how it is saved."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn
from torch.optim import SGD

from mmcl_train.config import RunConfig
from mmcl_train.data.clips import ClipTransform
from mmcl_train.method.task import CoLearningTask

from .checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_state,
    read_checkpoint,
    remove_unfinished,
    write_checkpoint,
)
from .folder import RunFolder
from .inputs import Inputs
from .parallel import sum_processes
from .progress import Progress
from .tracker import Tracker
from .window import COLUMNS, LossWindow, average


@dataclass
class Position:
    """Where a run stands.

    Args:
        epoch: 0-based, the one being trained.
        batch: batches of this epoch done.
        step: optimiser steps done.
        sums: (9,) of this epoch so far, in the order of `window.COLUMNS`.
        seconds: spent training, over all starts.
        best: split → {"epoch", "top1"} of the best epoch so far.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(COLUMNS)))
    seconds: float = 0.0
    best: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass
class Run:
    """Everything the loop touches. `task` is the module itself, `module` what accelerate made of it."""

    config: RunConfig
    inputs: Inputs
    folder: RunFolder
    accelerator: Accelerator
    task: CoLearningTask
    module: nn.Module
    optimiser: SGD
    generator: torch.Generator
    clip_transform: ClipTransform
    position: Position
    window: LossWindow
    tracker: Tracker | None
    progress: Progress
    saved_at: float = field(default_factory=time.monotonic)

    @property
    def batches(self) -> int:
        """Batches an epoch; a short last one is left out, as published."""
        return len(self.inputs.train) * self.config.data.repeat // self.config.train.batch

    @property
    def clips(self) -> int:
        """Clips trained so far."""
        return self.position.step * self.config.train.batch

    def look(self) -> None:
        """Read the losses since the last look. Raises NonFiniteLoss before anything of it is saved."""
        at = self.position
        self.position.sums += self.window.collect(
            sum_processes, f"in epoch {at.epoch + 1}, by step {at.step}"
        )
        if not at.batch:  # of this epoch nothing is trained yet
            return
        shown = average(at.sums)
        self.progress.update(
            self.clips,
            f"epoch {at.epoch + 1}/{self.config.schedule.epochs}  {at.batch}/{self.batches}  "
            f"loss {shown['loss']:.3f}  train {shown['train_top1']:.1%}",
            epoch=at.epoch + 1,
            epochs=self.config.schedule.epochs,
            loss=shown["loss"],
            train_top1=shown["train_top1"],
        )

    def save(self) -> None:
        """Look, then write a checkpoint (first process)."""
        self.look()
        at, self.saved_at = self.position, time.monotonic()
        if self.tracker is None:
            return
        write_checkpoint(
            self.folder.checkpoints,
            Checkpoint(
                step=at.step,
                model=self.task.model.state_dict(),
                task=method_state(self.task),
                optimiser=self.optimiser.state_dict(),
                state={
                    "epoch": at.epoch,
                    "batch": at.batch,
                    "sums": at.sums.tolist(),
                    "seconds": at.seconds + self.progress.seconds(),
                    "best": at.best,
                    "metrics_bytes": self.tracker.position(),
                },
            ),
        )

    def close(self) -> None:
        """Close the trackers."""
        if self.tracker is not None:
            self.tracker.close()


def method_state(task: CoLearningTask) -> dict[str, torch.Tensor]:
    """The task's state without the model's."""
    return {name: tensor for name, tensor in task.state_dict().items() if not name.startswith("model.")}


def restore(folder: RunFolder, task: CoLearningTask, optimiser: SGD) -> tuple[Position, int]:
    """Load the last checkpoint of a folder, if there is one: its position, and its bytes of metrics.jsonl.

    Raises:
        UserError: the checkpoint is damaged or does not fit.
    """
    remove_unfinished(folder.checkpoints)
    found = list_checkpoints(folder.checkpoints)
    if not found:
        return Position(), 0
    checkpoint = read_checkpoint(found[-1])
    model = {f"model.{name}": tensor for name, tensor in checkpoint.model.items()}
    load_state(task, {**model, **checkpoint.task}, str(found[-1]))
    optimiser.load_state_dict(checkpoint.optimiser)
    state: dict[str, Any] = checkpoint.state
    position = Position(
        epoch=state["epoch"],
        batch=state["batch"],
        step=checkpoint.step,
        sums=np.array(state["sums"]),
        seconds=state["seconds"],
        best=state["best"],
    )
    return position, state["metrics_bytes"]
