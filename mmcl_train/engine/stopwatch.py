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
    """Seconds of one call: on the wall, and of the processor over all threads (0 where a GPU works)."""

    wall: float
    processor: float

    @property
    def work(self) -> float:
        """What ratios are made of: processor time, which other programs disturb less, or the GPU's wall time."""
        return self.processor or self.wall


def measure(
    parts: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, *, best: bool = False
) -> dict[str, Times]:
    """Each part once a round, in turn, after one round that does not count: medians, or the best of all rounds."""
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
    choose = min if best else statistics.median
    return {
        name: Times(
            choose(wall for wall, _ in times),
            choose(processor for _, processor in times) if on_host else 0.0,
        )
        for name, times in taken.items()
    }


def time_once(part: Callable[[], object], device: torch.device) -> Times:
    """One call, with nothing before it to warm up: of what takes so long that it needs none."""
    _wait(device)
    wall, processor = time.perf_counter(), time.process_time()
    part()
    _wait(device)
    spent = time.process_time() - processor
    return Times(time.perf_counter() - wall, spent if device.type == "cpu" else 0.0)


def show(found: Mapping[str, Times], clips: int, floors: Mapping[str, float] | None = None) -> Iterator[str]:
    """One line a part: milliseconds a clip; where `floors` has it (seconds a call), the floor and the ratio to it."""
    for name, times in found.items():
        line = f"  {name:<34} {1e3 * times.wall / clips:10.3f} ms a clip"
        if times.processor:
            line += f"{1e3 * times.processor / clips:10.3f} of processor"
        if floors and name in floors:
            line += f"{1e3 * floors[name] / clips:10.3f} floor {times.work / floors[name]:8.2f} of it"
        yield line


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
