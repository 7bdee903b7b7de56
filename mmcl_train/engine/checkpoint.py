"""Checkpoints: one folder a step, complete or not there, without pickle.

    checkpoints/step-00000420/model.safetensors       backbone and classifier
                              task.safetensors        what co-learning adds; thrown away at test time
                              optimiser.safetensors   tensors of the optimiser's state
                              state.json              the rest: position, optimiser's numbers, totals of the epoch

The folder is written under another name, every file fsynced, then renamed; one that goes is renamed first and then
emptied: a killed run never leaves half a checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mmcl_cache.store import UserError

KEEP = 2
PREFIX = "step-"


@dataclass(frozen=True)
class Checkpoint:
    """State of a run after `step` optimiser steps."""

    step: int
    model: dict[str, Tensor]
    task: dict[str, Tensor]
    optimiser: dict[str, Any]
    state: dict[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = KEEP) -> Path:
    """Write one checkpoint folder atomically and drop all but the newest `keep`.

    Raises:
        UserError: the disk refuses; the checkpoints before are kept.
    """
    tensors, numbers = split_optimiser(checkpoint.optimiser)
    files = {
        "model.safetensors": pack(checkpoint.model),
        "task.safetensors": pack(checkpoint.task),
        "optimiser.safetensors": pack(tensors),
        "state.json": json.dumps(
            {"step": checkpoint.step, "optimiser": numbers, **checkpoint.state}
        ).encode(),
    }
    final = folder / f"{PREFIX}{checkpoint.step:08d}"
    temporary = folder / f".{final.name}.part"
    with told_in_one_line(final):
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
        temporary.mkdir()
        for name, content in files.items():
            write_synced(temporary / name, content)
        sync_folder(temporary)
        if final.exists():  # the same step again, at the end of an epoch: it goes on from either alike
            discard(final)
        temporary.rename(final)
        sync_folder(folder)
        for old in list_checkpoints(folder)[:-keep]:
            discard(old)
    return final


def discard(checkpoint: Path) -> None:
    """Remove a checkpoint so that at no moment half of it passes for one."""
    hidden = checkpoint.with_name(f".{checkpoint.name}.old.part")
    checkpoint.rename(hidden)
    shutil.rmtree(hidden)


def remove_unfinished(folder: Path) -> None:
    """Remove what this run left half written or half removed when it was killed. Only for the process that trains."""
    for path in folder.glob(".*.part"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first. Only reads: the run may be going on."""
    return sorted(path for path in folder.glob(f"{PREFIX}*") if (path / "state.json").is_file())


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint folder to host memory. Raises UserError where a file is gone or damaged."""
    try:
        state = json.loads((path / "state.json").read_text())
        tensors = unpack(path / "optimiser.safetensors")
        return Checkpoint(
            step=state.pop("step"),
            model=unpack(path / "model.safetensors"),
            task=unpack(path / "task.safetensors"),
            optimiser=merge_optimiser(tensors, state.pop("optimiser")),
            state=state,
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{path}: damaged checkpoint ({error}); delete this folder to go on from the one before"
        ) from None


def split_optimiser(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (named `<parameter>.<key>`) apart from plain numbers of an optimiser's state_dict."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            else:
                numbers.setdefault(str(index), {})[key] = value
    return tensors, {"state": numbers, "param_groups": state["param_groups"]}


def merge_optimiser(tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `split_optimiser`."""
    state: dict[int, dict[str, Any]] = {
        int(index): dict(entries) for index, entries in numbers["state"].items()
    }
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    return {"state": state, "param_groups": numbers["param_groups"]}


def pack(tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> bytes:
    """safetensors bytes; tensors that share memory are written once each."""
    plain = {name: tensor.detach().to("cpu").clone().contiguous() for name, tensor in tensors.items()}
    content: bytes = save(plain, dict(about) if about else None)
    return content


def unpack(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file to host memory. Raises OSError, or SafetensorError where it is damaged."""
    tensors: dict[str, Tensor] = load(path.read_bytes())
    return tensors


def write_atomically(path: Path, content: bytes) -> None:
    """Temporary file beside it, fsync, rename, fsync of the folder.

    Raises:
        UserError: the disk refuses; the file that was there is kept.
    """
    temporary = path.with_name(f".{path.name}.part")
    with told_in_one_line(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(temporary, content)
        temporary.replace(path)
        sync_folder(path.parent)


@contextmanager
def told_in_one_line(path: Path) -> Iterator[None]:
    """A disk that refuses is a user's to mend. Raises UserError in place of OSError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: could not be written ({error.strerror or error}); what was saved before is kept: mend the disk "
            "and run the same command again"
        ) from None


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the disk has the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_state(module: torch.nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict strictly. Raises UserError that names the file and what does not fit."""
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        raise UserError(f"{where}: does not fit this model: {' '.join(str(error).split())[:300]}") from None
