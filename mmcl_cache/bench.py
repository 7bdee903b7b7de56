"""How fast a build is on this machine, and what it wastes; every figure from a process of its own.

decode only    strips and skeletons of all clips, no model
models only    text and rgb from the strips that decoding left
whole build    both, as `mmcl-cache build` does it
published way  one clip after another: decode, one image to the models, one .npy a sample, in one process

A process opens its models before its clock starts, so that figures of a hundred clips hold for a hundred thousand.
CPU seconds are those of the process and all it started.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmcl_cache.build import Build
from mmcl_cache.config import EMBEDDED, BuildConfig
from mmcl_cache.demo.generate import generate_demo
from mmcl_cache.engines.job import cores_here
from mmcl_cache.errors import UserError
from mmcl_cache.plan import scan_dataset
from mmcl_cache.video.strip import decode_jpeg

Work = Callable[[BuildConfig], Callable[[], Any]]


@dataclass(frozen=True)
class BenchSettings:
    """What is measured.

    Args:
        clips: generated clips.
        source: a demo that is there already; None generates one for the time of the measurement.
        vqa, cnn: a hub id, a folder, or "embedded".
    """

    clips: int = 100
    source: Path | None = None
    vqa: str = EMBEDDED
    cnn: str = EMBEDDED


def measure_speed(settings: BenchSettings) -> dict[str, Any]:
    """Wall and CPU seconds of each way of the module's list, and the ratios between them."""
    with tempfile.TemporaryDirectory(prefix="mmcl-bench-") as scratch:
        config = _config(settings, Path(scratch))
        parts: dict[str, dict[str, float]] = {
            "decode only": _measure(_record, replace(config, fields=("skeleton", "strip"))),
            "models only": _measure(_record, config),
            "whole build": _measure(_record, replace(config, cache=Path(scratch) / "whole")),
            "published way": _measure(_publish, replace(config, cache=Path(scratch) / "published")),
        }
        for figures in parts.values():
            figures["clips_per_second"] = settings.clips / figures["wall_seconds"]
    whole, cores = parts["whole build"], cores_here()
    alone = parts["decode only"]["cpu_seconds"] + parts["models only"]["cpu_seconds"]
    return {
        "clips": settings.clips,
        "cores": cores,
        "load": list(os.getloadavg()),
        "parts": parts,
        "wall_times_cores_over_cpu_alone": whole["wall_seconds"] * cores / alone,
        "cpu_over_cpu_alone": whole["cpu_seconds"] / alone,
        "published_over_whole_wall": parts["published way"]["wall_seconds"] / whole["wall_seconds"],
        "published_over_whole_cpu": parts["published way"]["cpu_seconds"] / whole["cpu_seconds"],
    }


def measure_memory(settings: BenchSettings) -> dict[str, Any]:
    """Peak resident memory of a build of a quarter of the clips and of all, and their ratio."""
    if settings.clips < 4:
        raise UserError(f"--clips {settings.clips}: memory is compared from 4 clips on")
    with tempfile.TemporaryDirectory(prefix="mmcl-bench-") as scratch:
        config = _config(settings, Path(scratch))
        peaks = {}
        for count in (settings.clips // 4, settings.clips):
            one = replace(config, limit=count, cache=Path(scratch) / f"cache{count}", shard_size=16)
            peaks[str(count)] = _measure(_record, one)["peak_mib"]
    few, many = peaks.values()
    return {"clips": settings.clips, "load": list(os.getloadavg()), "peak_mib": peaks, "ratio": many / few}


def format_bench(found: dict[str, Any]) -> str:
    """The figures for people."""
    load = " ".join(f"{x:.1f}" for x in found["load"])
    if "peak_mib" in found:
        lines = [f"peak memory of the building process, load {load}"]
        lines += [f"  {count:>6} clips {peak:8.0f} MiB" for count, peak in found["peak_mib"].items()]
        return "\n".join([*lines, f"  ratio {found['ratio']:.2f}"])
    lines = [f"{found['clips']} clips, {found['cores']} cores, load {load}"]
    lines.append(f"  {'':14} {'clips/s':>8} {'wall s':>8} {'CPU s':>8} {'start-up s':>11}")
    for name, part in found["parts"].items():
        lines.append(
            f"  {name:14} {part['clips_per_second']:8.1f} {part['wall_seconds']:8.2f} {part['cpu_seconds']:8.2f} "
            f"{part['start_seconds']:11.2f}"
        )
    lines.append(
        f"  whole build: wall × cores / CPU of its parts alone {found['wall_times_cores_over_cpu_alone']:.2f}, "
        f"CPU / CPU alone {found['cpu_over_cpu_alone']:.2f}"
    )
    lines.append(
        f"  the published way takes {found['published_over_whole_wall']:.1f} × the wall time and "
        f"{found['published_over_whole_cpu']:.1f} × the CPU time of the whole build"
    )
    return "\n".join(lines)


def _config(settings: BenchSettings, scratch: Path) -> BuildConfig:
    source = settings.source
    if source is None:
        source = scratch / "demo"
        generate_demo(source, clips=settings.clips, workers=cores_here())
    return BuildConfig(
        "demo", source, scratch / "cache", limit=settings.clips, vqa=settings.vqa, cnn=settings.cnn
    )


def _measure(work: Work, config: BuildConfig) -> dict[str, float]:
    """Run it in a process of its own, as a build runs."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_time, args=(theirs, work, config))
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        found = "the process of the measurement died"
    process.join()
    if isinstance(found, str):
        raise UserError(found)
    figures: dict[str, float] = found
    return figures


def _time(pipe: Connection, work: Work, config: BuildConfig) -> None:
    started = time.monotonic()
    try:
        run = work(config)
        ready, before = time.monotonic(), _cpu_seconds()
        run()
    except UserError as error:
        pipe.send(str(error))
        return
    pipe.send(
        {
            "start_seconds": ready - started,
            "wall_seconds": time.monotonic() - ready,
            "cpu_seconds": _cpu_seconds() - before,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )


def _cpu_seconds() -> float:
    """Of this process and of the children it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _record(config: BuildConfig) -> Callable[[], Any]:
    build = Build(config, scan_dataset(config))
    return lambda: build.run(quiet=True)


def _publish(config: BuildConfig) -> Callable[[], Any]:
    """One clip, one image, one file a feature, as the released scripts do it."""
    job = Build(config, scan_dataset(config)).job
    recorder = job.recorder(("skeleton", "strip"))
    folder = config.cache / "npy"
    folder.mkdir()

    def run() -> None:
        from_strip = {name: encoder.encode for name, encoder in job.encoders.items()}
        for sample in job.dataset.samples:
            rows = recorder(sample)
            if rows.skeleton is not None and rows.skeleton.status == "ok":
                np.save(folder / f"{sample.sample_id}_skeleton.npy", rows.skeleton.values["joints"])
            if rows.strip is None or rows.strip.status != "ok":
                continue
            jpeg = rows.strip.values["jpeg"].tobytes()
            (folder / f"{sample.sample_id}.jpg").write_bytes(jpeg)
            for name, encode in from_strip.items():
                values = encode([_image(jpeg)])[0]
                for column, value in values.items():
                    np.save(folder / f"{sample.sample_id}_{name}_{column}.npy", np.asarray(value))

    return run


def _image(jpeg: bytes) -> Any:
    return Image.fromarray(decode_jpeg(jpeg))
