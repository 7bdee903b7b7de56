"""What a build cannot do without on this machine: multiplications, bytes to and from the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from mmcl_cache.encoders import Encoder
from mmcl_cache.engines.job import cores_here

ROUNDS = 5  # the best counts
MATRIX = {"cpu": 1536, "cuda": 8192}


def measure_model_floors(encoders: Mapping[str, Encoder], strip: Image.Image) -> dict[str, float]:
    """Field → least seconds a strip: the model's FLOP over the speed of a large matrix product, measured now.

    FLOP are those of matrix products, convolutions and attention on this strip, its answers included; all else counts
    as free. The product is of the model's number type, on its device; on a processor all cores share it.
    """
    floors = {}
    for name, encoder in encoders.items():
        with FlopCounterMode(display=False) as counter:
            encoder.encode([strip])
        device = torch.device(str(encoder.info.get("device", "cpu")))
        dtype = getattr(torch, str(encoder.settings.get("dtype", "float32")))
        floors[name] = counter.get_total_flops() / measure_product(device, dtype)
    return floors


def measure_product(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product."""
    size, threads = MATRIX.get(device.type, MATRIX["cpu"]), torch.get_num_threads()
    torch.set_num_threads(cores_here())
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def multiply() -> None:
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    multiply()
    seconds = min(_seconds(multiply) for _ in range(ROUNDS))
    torch.set_num_threads(threads)
    return 2 * size**3 / seconds


def measure_copy(folder: Path, target: Path) -> tuple[int, float, float]:
    """Bytes of all files under a folder, and least seconds to read them and to write and sync them under another.

    They are read from memory where the system still has them there, as those of a cache that was just made.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    target.mkdir(parents=True)
    read = min(_seconds(lambda: [path.read_bytes() for path in files]) for _ in range(ROUNDS))

    def write() -> None:
        for number, path in enumerate(files):
            with (target / str(number)).open("wb") as copy:
                copy.write(path.read_bytes())
                copy.flush()
                os.fsync(copy.fileno())

    written = min(_seconds(write) for _ in range(ROUNDS))
    return sum(path.stat().st_size for path in files), read, written


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
