"""Times of things that are compared: taken in turn, on the wall and on the processor."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Times:
    """Median seconds of one call: on the wall, and of the processor over all threads (0 where a GPU works)."""

    wall: float
    processor: float

    @property
    def work(self) -> float:
        """What ratios are made of: processor time, which other programs disturb less, or the GPU's wall time."""
        return self.processor or self.wall


def measure(parts: Mapping[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, Times]:
    """Each part once a round, in turn, after one round that does not count."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    for number in range(rounds + 1):
        for name, part in parts.items():
            _wait(device)
            wall, processor = time.perf_counter(), time.process_time()
            part()
            _wait(device)
            if number:
                taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
    on_host = device.type == "cpu"
    return {
        name: Times(
            statistics.median(wall for wall, _ in times),
            statistics.median(processor for _, processor in times) if on_host else 0.0,
        )
        for name, times in taken.items()
    }


def show(found: Mapping[str, Times], clips: int) -> Iterator[str]:
    """One line a part: milliseconds a clip."""
    for name, times in found.items():
        on_processor = f"{1e3 * times.processor / clips:10.3f} of processor" if times.processor else ""
        yield f"  {name:<34} {1e3 * times.wall / clips:10.3f} ms a clip{on_processor}"


def ratio(name: str, first: Times, second: Times) -> str:
    """One line."""
    return f"  {name:<34} {first.work / second.work:10.3f}"


def describe_machine(device: torch.device) -> str:
    """Device, threads and how busy the machine is, in one line."""
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device}, {platform.machine()}"
    busy = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores" if hasattr(os, "getloadavg") else ""
    return f"{what}, torch {torch.__version__}, {torch.get_num_threads()} threads, {busy}"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
