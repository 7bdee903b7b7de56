"""What a bench times. Each is opened first (models, a warm-up on a GPU) and gives what is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from mmcl_cache.bench_floors import measure_model_floors
from mmcl_cache.build import Build
from mmcl_cache.config import BuildConfig
from mmcl_cache.encoders import Encoder
from mmcl_cache.engines.job import open_encoders
from mmcl_cache.errors import UserError
from mmcl_cache.plan import scan_dataset
from mmcl_cache.store import open_cache
from mmcl_cache.video.strip import open_jpeg

Timed = Callable[[], dict[str, float]]
"""The work, and figures that it alone knows."""
Way = Callable[[BuildConfig], Timed]


def record(config: BuildConfig) -> Timed:
    """A build of the settings' fields."""
    build = Build(config, scan_dataset(config))
    for encoder in build.job.encoders.values():
        _warm_up(encoder, config.batch_size)

    def run() -> dict[str, float]:
        report = build.run(quiet=True)
        return {"write_seconds": report.write_seconds, "prepare_seconds": report.prepare_seconds}

    return run


def publish(config: BuildConfig) -> Timed:
    """One clip, one image, one file a feature, as the released scripts do it."""
    job = Build(config, scan_dataset(config)).job
    recorder = job.recorder(("skeleton", "strip"))
    folder = _create_folder(config)
    for encoder in job.encoders.values():
        _warm_up(encoder, 1)

    def run() -> dict[str, float]:
        for sample in job.dataset.samples:
            rows = recorder(sample)
            if rows.skeleton is not None and rows.skeleton.status == "ok":
                np.save(folder / f"{sample.sample_id}_skeleton.npy", rows.skeleton.values["joints"])
            if rows.strip is None or rows.strip.status != "ok":
                continue
            jpeg = rows.strip.values["jpeg"].tobytes()
            (folder / f"{sample.sample_id}.jpg").write_bytes(jpeg)
            for name, encoder in job.encoders.items():
                _keep(folder, f"{sample.sample_id}_{name}", encoder, jpeg)
        return {}

    return run


def ask_one_by_one(config: BuildConfig) -> Timed:
    """The questions to one stored strip after another, one file an answer, in one process."""
    encoder = open_encoders(config, ("text",))["text"]
    strips = open_cache(config.cache).field("strip")
    folder = _create_folder(config)
    _warm_up(encoder, 1)

    def run() -> dict[str, float]:
        rows = strips.load(open_cache(config.cache).samples.sample_ids)
        for n, sample_id in enumerate(rows.sample_ids):
            if rows.valid[n]:
                _keep(folder, f"{sample_id}_text", encoder, rows["jpeg"][n].tobytes())
        return {}

    return run


def load_all(config: BuildConfig) -> Timed:
    """Every field of a cache into memory, joined on the sample id."""
    cache = open_cache(config.cache)

    def run() -> dict[str, float]:
        for name in cache.fields():
            cache.field(name).load(cache.samples.sample_ids)
        return {}

    return run


def count_model_floors(config: BuildConfig) -> Timed:
    """Least seconds a strip of each model, by field, on the first usable strip; and whether a GPU runs it."""
    encoders = open_encoders(config, ("text", "rgb"))
    cache = open_cache(config.cache)
    rows = cache.field("strip").load(cache.samples.sample_ids)
    if not rows.valid.any():
        raise UserError(f"{config.source}: none of its clips gave a strip to measure the models on")
    strip = open_jpeg(rows["jpeg"][int(np.flatnonzero(rows.valid)[0])].tobytes())
    on_host = all(_is_on_host(encoder) for encoder in encoders.values())
    return lambda: {**measure_model_floors(encoders, strip), "on_host": float(on_host)}


def at_cache(config: BuildConfig, path: Path) -> BuildConfig:
    """The same build in another folder."""
    return replace(config, cache=path)


def _create_folder(config: BuildConfig) -> Path:
    folder = config.cache / "npy"
    folder.mkdir()
    return folder


def _keep(folder: Path, name: str, encoder: Encoder, jpeg: bytes) -> None:
    for column, value in encoder.encode([open_jpeg(jpeg)])[0].items():
        np.save(folder / f"{name}_{column}.npy", np.asarray(value))


def _warm_up(encoder: Encoder, count: int) -> None:
    """A GPU's libraries choose their ways when they first see a batch of a size."""
    if not _is_on_host(encoder):
        encoder.encode([Image.new("RGB", (480, 480))] * count)


def _is_on_host(encoder: Encoder) -> bool:
    return str(encoder.info.get("device", "cpu")).startswith("cpu")
