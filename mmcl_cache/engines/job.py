"""A build with everything open: the data set, the cache, its fields and the models that fill them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from mmcl_cache.config import BuildConfig
from mmcl_cache.datasets import Dataset, Sample
from mmcl_cache.encoders import Encoder, open_image_encoder, open_text_encoder, parse_question
from mmcl_cache.encoders.detector import PersonDetector
from mmcl_cache.encoders.inception import INCEPTION
from mmcl_cache.errors import CacheError, UserError
from mmcl_cache.fields.recording import Recorder
from mmcl_cache.fields.skeleton import skeleton_columns, skeleton_settings
from mmcl_cache.fields.strip import strip_columns, strip_settings
from mmcl_cache.plan import choose_fields, describe, tabulate_samples
from mmcl_cache.store import Cache, Field, create_cache
from mmcl_cache.store.files import remove_temporaries
from mmcl_cache.video.decode import check_decoder

RECORDED = ("skeleton", "strip")
# Encoders that keep nothing between calls; several threads may ask them at once.
_SHARED_ENCODERS = frozenset({"blip-vqa", "image-classifier", INCEPTION})
_MAX_TURNS = {"cpu": 8, "cuda": 4}
# Windows whose strips are in memory: enough to prepare for a GPU on all cores of its share.
_MAX_WINDOWS = 16

Pending = dict[int, tuple[str, ...]]
"""Shard → its fields that are not complete."""


@dataclass(frozen=True)
class Job:
    """What making a shard needs.

    Args:
        encoders: the open models by field.
        fields: by name, in the order they are made.
    """

    config: BuildConfig
    dataset: Dataset
    cache: Cache
    fields: Mapping[str, Field]
    encoders: Mapping[str, Encoder]

    def pending(self, alone: bool = False) -> Pending:
        """What is to do, from the markers on disk; leftovers of dead processes are removed.

        Args:
            alone: no other process writes this cache.
        """
        for folder in (self.cache.path, *self.cache.path.glob("*/*/")):
            remove_temporaries(folder, alone)
        found: dict[int, list[str]] = {}
        for name, each in self.fields.items():
            for k in each.pending():
                found.setdefault(k, []).append(name)
        return {k: tuple(found[k]) for k in sorted(found)}

    def samples(self, index: int) -> tuple[Sample, ...]:
        size = self.cache.shard_size
        return self.dataset.samples[index * size : (index + 1) * size]

    def recorder(self, names: Sequence[str]) -> Recorder:
        """What decode processes run to make these of the recorded fields."""
        return make_recorder(self.config, self.dataset, names)

    def windows(self) -> int:
        """How many windows of strips are worked on at once, each by a thread: opened, prepared, shown to the models.

        A GPU's windows are prepared by all cores while their models work on others.
        """
        turns = [self.turns(name) for name in self.encoders]
        if not all(_runs_on_cpu(encoder) for encoder in self.encoders.values()):
            turns.append(min(share_of_cores(self.config), _MAX_WINDOWS))
        return max(turns, default=1)

    def turns(self, name: str) -> int:
        """How many batches the model of a field may work on at once."""
        encoder = self.encoders[name]
        if encoder.settings.get("encoder") not in _SHARED_ENCODERS:
            return 1
        kind = "cpu" if _runs_on_cpu(encoder) else "cuda"
        return self.config.model_threads or min(share_of_cores(self.config), _MAX_TURNS[kind])

    @contextmanager
    def torch_threads(self) -> Iterator[int]:
        """Set torch's threads for the time of a build; yields how many each window has.

        One thread a batch and several batches at once: sums then come out the same on any number of cores, and no
        core spins while it waits for another. A model that takes one batch at a time gets the cores instead.
        """
        before = torch.get_num_threads()
        alone = any(n == "text" and self.turns(n) == 1 and _runs_on_cpu(e) for n, e in self.encoders.items())
        threads = (self.config.model_threads or share_of_cores(self.config)) if alone else 1
        torch.set_num_threads(threads)
        try:
            yield threads
        finally:
            torch.set_num_threads(before)


def make_recorder(config: BuildConfig, dataset: Dataset, names: Sequence[str]) -> Recorder:
    """What decode processes run to make these of the recorded fields of a data set."""
    strip = config.strip if "strip" in names else None
    finder = open_detector(config) if strip is not None else None
    return Recorder.of(dataset, config.source, strip, "skeleton" in names, config.decoder, finder)


def open_detector(config: BuildConfig) -> PersonDetector | None:
    """What finds the people of a frame; None where strips are not cropped by a detector.

    Raises:
        ModelError: it cannot be had, or finds no people.
    """
    if config.strip.crop != "detector":
        return None
    if config.detector is None:
        raise UserError("--crop detector: say which model finds the people, --crop detector:MODEL")
    return PersonDetector(config.detector, config.device)


def open_encoders(config: BuildConfig, names: Sequence[str]) -> dict[str, Encoder]:
    """The models of these fields.

    Raises:
        ModelError: one cannot be had, or cannot take a question.
    """
    found: dict[str, Encoder] = {}
    if "text" in names:
        found["text"] = open_text_encoder(
            config.vqa,
            [parse_question(question) for question in config.questions],
            choices=config.choices,
            device=config.device,
            dtype=config.dtype,
            image_size=config.image_size,
            enc_token=config.enc_token,
            max_tokens=config.max_tokens,
            compile_vision=config.compile_vision,
        )
    if "rgb" in names:
        found["rgb"] = open_image_encoder(config.cnn, device=config.device, dtype=config.dtype)
    return found


def open_job(config: BuildConfig, dataset: Dataset, encoders: Mapping[str, Encoder] | None = None) -> Job:
    """Open or create the cache and its fields.

    Args:
        encoders: those that are open already; None opens them.

    Raises:
        UserError: a model, a setting or the folder cannot be used; the message says which.
        StaleCacheError: what is on disk was made otherwise.
    """
    check_decoder(config.decoder)
    names = choose_fields(config, dataset)
    opened = open_encoders(config, names) if encoders is None else encoders
    cache = _open_cache(config, dataset)
    fields: dict[str, Field] = {}
    for name in names:
        fields[name] = add_field(config, dataset, cache, name, fields, opened)
    return Job(config, dataset, cache, fields, opened)


def cores_here() -> int:
    """Cores this process may use, which on a cluster are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_of_cores(config: BuildConfig) -> int:
    """Cores of one process where `config.processes` work on this machine."""
    return max(1, cores_here() // config.processes)


def decode_workers(config: BuildConfig) -> int:
    return share_of_cores(config) if config.workers is None else config.workers


def on_device(config: BuildConfig, device: str, processes: int) -> BuildConfig:
    """The same build for one of several processes of this machine."""
    return replace(config, device=device, processes=processes)


def _runs_on_cpu(encoder: Encoder) -> bool:
    return str(encoder.info.get("device", "cpu")).startswith("cpu")


def _open_cache(config: BuildConfig, dataset: Dataset) -> Cache:
    description, table = describe(dataset), tabulate_samples(dataset)
    try:
        return create_cache(config.cache, description, table, config.shard_size)
    except CacheError:
        # Another part of the same build may have made it just now.
        if not (config.cache / "cache.json").is_file():
            raise
        return create_cache(config.cache, description, table, config.shard_size)


def add_field(
    config: BuildConfig,
    dataset: Dataset,
    cache: Cache,
    name: str,
    fields: Mapping[str, Field],
    encoders: Mapping[str, Encoder],
) -> Field:
    """The variant of a field that these settings make, new or continued.

    Raises:
        StaleCacheError: it is on disk with other settings; the message names those that differ.
    """
    variant = config.variant(name)
    if name == "skeleton":
        return cache.add_field(name, variant, skeleton_settings(dataset), skeleton_columns(dataset))
    if name == "strip":
        settings = config.strip
        made = strip_settings(dataset, settings, open_detector(config))
        info = {"model": config.detector} if config.detector is not None else None
        return cache.add_field(name, variant, made, strip_columns(settings), info=info)
    encoder = encoders[name]
    made_with: dict[str, Any] = {**encoder.settings, "batch_size": config.batch_size}
    return cache.add_field(name, variant, made_with, encoder.columns, fields["strip"], encoder.info)
