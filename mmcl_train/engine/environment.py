"""What a run ran on: versions and device."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import Any

import torch

from mmcl_cache.store import UserError

PACKAGES = ("mmcl", "torch", "accelerate", "numpy", "h5py", "safetensors", "scipy")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Versions, device, threads and the command line, as plain JSON values."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "command": " ".join(sys.argv),
    }


def choose_device(name: str) -> torch.device:
    """The device of a name; `auto` takes CUDA, then Apple's, then the processor. Raises UserError for one not here.

    A CUDA device becomes the process's current one: accelerate and Triton work on that, whatever tensors say.
    """
    device = find_device(name)
    if device.type == "cuda":
        if device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        torch.cuda.set_device(device)
    return device


def find_device(name: str) -> torch.device:
    """`choose_device` without making it current."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"train.device: {name!r} is no device; known: auto, cpu, cuda, cuda:0, mps") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise UserError(f"train.device: {name!r} is not on this machine; use train.device=auto or cpu")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise UserError(
            f"train.device: {name!r}, but this machine has {torch.cuda.device_count()} CUDA devices"
        )
    return device
