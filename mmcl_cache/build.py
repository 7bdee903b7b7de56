"""A build: plan, find the shards that are not complete, have an engine make them.

    samples ─▶ decode processes ─▶ skeleton and strip rows ─▶ models ─▶ text and rgb rows ─▶ shards

A shard that is complete is never opened for writing again; one that is not is made from its beginning. So a build can
be killed at any moment, and the same command continues it, with the same engine or another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from mmcl_cache.config import EMBEDDED, BuildConfig
from mmcl_cache.datasets import Dataset
from mmcl_cache.encoders import Encoder, PreparingEncoder
from mmcl_cache.engines.disk import tell_disk_errors
from mmcl_cache.engines.job import open_job
from mmcl_cache.engines.launched import is_launched, processes_left_to_start, run_launched
from mmcl_cache.engines.local import make_shards
from mmcl_cache.engines.parts import Part, list_devices, run_devices
from mmcl_cache.engines.ray_cluster import run_ray
from mmcl_cache.engines.report import BuildReport
from mmcl_cache.errors import UserError
from mmcl_cache.plan import scan_dataset
from mmcl_cache.store import Cache, Field
from mmcl_cache.store.lock import hold_lock, share_lock

__all__ = ["ENGINES", "Build", "BuildReport", "run_build", "scan_dataset"]

Say = Callable[[str], None]


class Build:
    """One build by this process. `run` does it.

    Args:
        encoders: models that are open already; None opens those of the settings.

    Raises:
        UserError: a model, a setting or the folder cannot be used.
        StaleCacheError: what is on disk was made otherwise.
    """

    def __init__(
        self, config: BuildConfig, dataset: Dataset, encoders: Mapping[str, Encoder] | None = None
    ) -> None:
        self.job = open_job(config, dataset, encoders)

    @property
    def cache(self) -> Cache:
        return self.job.cache

    @property
    def fields(self) -> Mapping[str, Field]:
        return self.job.fields

    def run(self, quiet: bool = False) -> BuildReport:
        """Make every shard that is not complete.

        Raises:
            UserError: another process is writing this cache, a model cannot go on, the disk is full.
        """
        with hold_lock(self.cache.path):
            return make_shards(self.job, self.job.pending(alone=True), quiet)


def run_build(
    config: BuildConfig,
    engine: str = "local",
    part: str | None = None,
    say: Say = lambda line: None,
    quiet: bool = False,
) -> BuildReport:
    """Build what the settings ask for.

    Args:
        engine: a name of `ENGINES`. Under `accelerate launch` this process is one of many, whatever it says.
        part: "I/N": only shards I, I + N, I + 2N …, beside processes that make the other parts.
        say: told what a person may want to know, line by line.

    Raises:
        UserError: the build cannot be done, the disk refuses; the message says why. Finished shards are kept.
    """
    with tell_disk_errors(config.cache):
        return _run(config, engine, part, say, quiet)


def _run(config: BuildConfig, engine: str, part: str | None, say: Say, quiet: bool) -> BuildReport:
    """The build, where it belongs."""
    if engine not in ENGINES:
        raise UserError(f"--engine {engine}: no such engine; known: {', '.join(sorted(ENGINES))}")
    if is_launched():
        if part is not None or engine != "local":
            raise UserError("under accelerate launch leave --part and --engine out; ranks share the shards")
        return run_launched(config, say, quiet)
    if engine == "local" and config.device == "auto" and (count := processes_left_to_start()):
        config = replace(config, device=",".join(["cpu"] * count))
    if part is not None:
        if engine != "local":
            raise UserError(f"--part belongs to --engine local; --engine {engine} shares the shards itself")
        return _run_part(config, Part.parse(part), say, quiet)
    return ENGINES[engine](config, say, quiet)


def _run_local(config: BuildConfig, say: Say, quiet: bool) -> BuildReport:
    """This machine: one process for models, or one for each of several GPUs."""
    dataset = scan_dataset(config)
    announce(config, dataset, say)
    devices = list_devices(config.device)
    if len(devices) > 1:
        return run_devices(config, devices, say, quiet)
    build = Build(config, dataset)
    warn_embedded(config, build.fields, say)
    tell_slow_preparation(build.job.encoders, say)
    return build.run(quiet)


def _run_part(config: BuildConfig, part: Part, say: Say, quiet: bool) -> BuildReport:
    dataset = scan_dataset(config)
    announce(config, dataset, say)
    with share_lock(config.cache):
        job = open_job(config, dataset)
        warn_embedded(config, job.fields, say)
        tell_slow_preparation(job.encoders, say)
        pending = job.pending()
        return make_shards(job, {k: names for k, names in pending.items() if part.owns(k)}, quiet)


def announce(config: BuildConfig, dataset: Dataset, say: Say) -> None:
    """Tell what was found."""
    say(f"{dataset.name}: {len(dataset.samples)} samples under {config.source}")
    for note in dataset.notes:
        say(f"  {note}")


def warn_embedded(config: BuildConfig, fields: Mapping[str, Field], say: Say) -> None:
    """Tell that the embedded models know drawn people only."""
    for name, model in (("text", config.vqa), ("rgb", config.cnn)):
        if name in fields and model == EMBEDDED and config.dataset != "demo":
            option = "--vqa Salesforce/blip-vqa-base" if name == "text" else "--cnn microsoft/resnet-50"
            beside = f"--variant {name}=real"
            say(
                f"  note: {name} comes from the small embedded model, which knows drawn people only; "
                f"for real pictures add {option} {beside} (nothing but {name} is made then)"
            )


def tell_slow_preparation(encoders: Mapping[str, Encoder], say: Say) -> None:
    """Tell which models' own processors must make their pixels."""
    for name, encoder in encoders.items():
        if isinstance(encoder, PreparingEncoder) and encoder.preparation.is_slow:
            say(
                f"  note: {name}: {encoder.preparation.way} does more than resize, cut, rescale and normalise, so it "
                "prepares every strip itself, at several times the cost; a fast GPU will wait for it"
            )


ENGINES: dict[str, Callable[[BuildConfig, Say, bool], BuildReport]] = {"local": _run_local, "ray": run_ray}
