"""Metrics of a run: JSON lines and TensorBoard scalars, and any tracker of accelerate asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch.utils.tensorboard import SummaryWriter


class Tracker:
    """Writes one record at a time to metrics.jsonl and its numbers to TensorBoard.

    Args:
        folder: the run folder.
        position: bytes of metrics.jsonl that belong to the checkpoint the run goes on from; what a killed run wrote
            after it is cut off, because it is written again.
        step: optimiser steps done at that checkpoint.
        accelerator: with any further trackers of its own.
    """

    def __init__(self, folder: Path, position: int, step: int, accelerator: Accelerator) -> None:
        path = folder / "metrics.jsonl"
        path.touch()
        os.truncate(path, min(position, path.stat().st_size))
        self._file = path.open("a")
        self._accelerator = accelerator
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """One line of JSON; numbers also as scalars named by their keys."""
        self._file.write(json.dumps({"step": step, **record}) + "\n")
        self._file.flush()
        numbers = {key: value for key, value in record.items() if isinstance(value, (int, float))}
        for key, value in numbers.items():
            self._board.add_scalar(key, value, step)
        self._accelerator.log(numbers, step=step)

    def position(self) -> int:
        """Bytes written so far, on disk when this returns."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Flush and close all."""
        self._file.close()
        self._board.close()
        for tracker in self._accelerator.trackers:
            tracker.finish()
