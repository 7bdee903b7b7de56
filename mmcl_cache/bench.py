"""How fast a build is on this machine, and what it wastes.

decode only       strips and skeletons of all clips, no model
text model        the questions to the strips that decoding left, in batches
text, one by one  the same, one strip after another in one process, one .npy a value
rgb model         the CNN on the same strips, in batches
whole build       all of it, as `mmcl-cache build` does it
published way     one clip after another: decode, one image to the models, one .npy a value, in one process
writing           of the whole build: the seconds its writing thread took
loading           every field of the whole build into memory

Floors, seconds that this machine cannot go below with the same parts:

decode only       its own CPU seconds, shared by all cores
models            the model's FLOP at the speed of a large matrix product, measured in the same run
whole build       on a GPU decode only, behind which models can hide; else the CPU seconds of decode only and both
                  models alone, shared by all cores
writing           the cache's bytes written and synced by a plain copy
loading           the cache's bytes read by a plain copy

Decoding, the models, the whole build and the published way have a process of their own each. Models are opened before
the clock starts, and on a GPU shown a batch, so that figures of a hundred clips hold for a hundred thousand. CPU
seconds are those of the process and all it started.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mmcl_cache.bench_floors import measure_copy
from mmcl_cache.bench_ways import (
    Way,
    ask_one_by_one,
    at_cache,
    count_model_floors,
    load_all,
    publish,
    record,
)
from mmcl_cache.config import EMBEDDED, BuildConfig
from mmcl_cache.demo.generate import generate_demo
from mmcl_cache.engines.job import cores_here
from mmcl_cache.errors import UserError

# What this project asks of a GPU.
AIM_BUILD = 0.9  # of decode only's clips a second
AIM_STRIPS, AIM_TIMES = 1500, 20  # a second; × one by one: BLIP-base, 480 px, bfloat16, one question
PREPARED = ("text model", "rgb model")
# Of the table: figure, width, digits.
COLUMNS = (
    ("clips_per_second", 8, 1),
    ("wall_seconds", 8, 2),
    ("cpu_seconds", 8, 2),
    ("start_seconds", 11, 2),
    ("floor_seconds", 9, 4),
    ("over_floor", 8, 2),
)


@dataclass(frozen=True)
class BenchSettings:
    """What is measured.

    Args:
        clips: generated clips.
        source: a demo that is there already; None generates one for the time of the measurement.
        vqa, cnn: a hub id, a folder, or "embedded".
        image_size: px the visual question model sees; None for its own.
        batch_size: strips a model sees at once.
        compile_vision: compile BLIP's vision tower.
    """

    clips: int = 100
    source: Path | None = None
    vqa: str = EMBEDDED
    cnn: str = EMBEDDED
    image_size: int | None = None
    batch_size: int = 32
    compile_vision: bool = False


def measure_speed(settings: BenchSettings) -> dict[str, Any]:
    """Wall and CPU seconds of each way of the module's list, their floors, and the ratios between them."""
    with tempfile.TemporaryDirectory(prefix="mmcl-bench-") as scratch:
        place = Path(scratch)
        config = _config(settings, place)
        whole = at_cache(config, place / "whole")
        parts = _measure({"decode only": (record, replace(config, fields=("skeleton", "strip")))})
        parts |= _measure(
            {
                "text model": (record, replace(config, fields=("text",))),
                "text, one by one": (ask_one_by_one, config),
                "rgb model": (record, replace(config, fields=("rgb",))),
                "floors": (count_model_floors, config),
            }
        )
        models = parts.pop("floors")
        parts |= _measure({"whole build": (record, whole), "loading": (load_all, whole)})
        parts |= _measure({"published way": (publish, at_cache(config, place / "published"))})
        size, read, written = measure_copy(whole.cache, place / "copy")
    cores, clips = cores_here(), settings.clips
    decode, build, published = (parts[name] for name in ("decode only", "whole build", "published way"))
    parts["writing"] = {"wall_seconds": build["write_seconds"]}
    alone = sum(parts[name]["cpu_seconds"] for name in ("decode only", "text model", "rgb model"))
    floors = {
        "decode only": decode["cpu_seconds"] / cores,
        "text model": models["text"] * clips,
        "text, one by one": models["text"] * clips,
        "rgb model": models["rgb"] * clips,
        "whole build": alone / cores if models["on_host"] else decode["wall_seconds"],
        "writing": written,
        "loading": read,
    }
    for name, figures in parts.items():
        figures["clips_per_second"] = clips / figures["wall_seconds"]
        if name in floors:
            figures["floor_seconds"] = floors[name]
            figures["over_floor"] = figures["wall_seconds"] / floors[name]
    return {
        "clips": clips,
        "cores": cores,
        "load": list(os.getloadavg()),
        "cache_bytes": size,
        "models_on_gpu": not models["on_host"],
        "parts": parts,
        "wall_times_cores_over_cpu_alone": build["wall_seconds"] * cores / alone,
        "cpu_over_cpu_alone": build["cpu_seconds"] / alone,
        "whole_over_decode_rate": decode["wall_seconds"] / build["wall_seconds"],
        "text_over_one_by_one": parts["text, one by one"]["wall_seconds"]
        / parts["text model"]["wall_seconds"],
        "published_over_whole_wall": published["wall_seconds"] / build["wall_seconds"],
        "published_over_whole_cpu": published["cpu_seconds"] / build["cpu_seconds"],
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
            peaks[str(count)] = _measure({"build": (record, one)})["build"]["peak_mib"]
    few, many = peaks.values()
    return {"clips": settings.clips, "load": list(os.getloadavg()), "peak_mib": peaks, "ratio": many / few}


def format_bench(found: dict[str, Any]) -> str:
    """The figures for people."""
    load = " ".join(f"{x:.1f}" for x in found["load"])
    if "peak_mib" in found:
        lines = [f"peak memory of the building process, load {load}"]
        lines += [f"  {count:>6} clips {peak:8.0f} MiB" for count, peak in found["peak_mib"].items()]
        return "\n".join([*lines, f"  ratio {found['ratio']:.2f}"])
    parts = found["parts"]
    where = "a GPU" if found["models_on_gpu"] else "the same cores"
    lines = [f"{found['clips']} clips, {found['cores']} cores, load {load}; models on {where}"]
    lines.append(
        f"  {'':16} {'clips/s':>8} {'wall s':>8} {'CPU s':>8} {'start-up s':>11} {'floor s':>9} {'÷ floor':>8}"
    )
    for name, part in parts.items():
        cells = (
            f"{part[key]:{width}.{digits}f}" if key in part else " " * width for key, width, digits in COLUMNS
        )
        lines.append(f"  {name:16} {' '.join(cells)}".rstrip())
    lines.append(
        f"  text model: {parts['text model']['clips_per_second']:.1f} strips/s, {found['text_over_one_by_one']:.1f} × "
        f"one by one (aim of BLIP-base on a GPU, 480 px, bfloat16, one question: {AIM_STRIPS:,} strips/s, "
        f"{AIM_TIMES} ×)"
    )
    prepared = (f"{name} {1e3 * parts[name]['prepare_seconds'] / found['clips']:.1f}" for name in PREPARED)
    lines.append(f"  preparing a strip (JPEG, resizing), ms of a core: {', '.join(prepared)}")
    lines.append(
        f"  whole build: {found['whole_over_decode_rate']:.2f} of decode only's clips/s (aim with models on a GPU: "
        f"{AIM_BUILD}); wall × cores / CPU of its parts alone {found['wall_times_cores_over_cpu_alone']:.2f}, "
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
        "demo",
        source,
        scratch / "cache",
        limit=settings.clips,
        vqa=settings.vqa,
        cnn=settings.cnn,
        image_size=settings.image_size,
        batch_size=settings.batch_size,
        compile_vision=settings.compile_vision,
    )


def _measure(ways: Mapping[str, tuple[Way, BuildConfig]]) -> dict[str, dict[str, float]]:
    """Figures of each, in a process of their own, as a build runs."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_time, args=(theirs, ways))
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        found = "the process of the measurement died; where memory ran out, try a smaller --batch-size"
    process.join()
    if isinstance(found, str):
        raise UserError(found)
    figures: dict[str, dict[str, float]] = found
    return figures


def _time(pipe: Connection, ways: Mapping[str, tuple[Way, BuildConfig]]) -> None:
    figures = {}
    try:
        for name, (way, config) in ways.items():
            started = time.monotonic()
            run = way(config)
            ready, before = time.monotonic(), _cpu_seconds()
            own = run()
            figures[name] = {
                **own,
                "start_seconds": ready - started,
                "wall_seconds": time.monotonic() - ready,
                "cpu_seconds": _cpu_seconds() - before,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
    except UserError as error:
        pipe.send(str(error))
        return
    pipe.send(figures)


def _cpu_seconds() -> float:
    """Of this process and of the children it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
