"""What a build is about to do: the samples, their table, and which fields are made of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmcl_cache.config import BuildConfig
from mmcl_cache.datasets import DATASETS, Dataset
from mmcl_cache.errors import SourceError, UserError
from mmcl_cache.store import FIELDS, Description, SampleTable

SPLIT_CODES = {"train": 1, "test": 2}


def scan_dataset(config: BuildConfig) -> Dataset:
    """Find the samples of the data set, as far as `--limit` goes.

    Raises:
        UserError: an unknown data set.
        SourceError: its files are not where they should be.
    """
    if config.dataset not in DATASETS:
        raise UserError(f"no data set {config.dataset!r}; known: {', '.join(sorted(DATASETS))}")
    dataset = DATASETS[config.dataset](config.source, config.scan)
    dataset = replace(dataset, follow_links=config.scan.follow_links)
    if not dataset.samples:
        raise SourceError(f"{config.source}: no sample of {config.dataset} found")
    if config.limit is not None:
        dataset = replace(dataset, samples=dataset.samples[: config.limit])
    return dataset


def describe(dataset: Dataset) -> Description:
    return Description(
        dataset=dataset.name,
        classes=tuple(dataset.classes),
        layout=dataset.layout,
        num_bodies=dataset.num_bodies,
        protocols=tuple(sorted(dataset.splits)),
        channels=dataset.channels,
        clip=dict(dataset.clip),
        two_person=tuple(dataset.two_person),
    )


def tabulate_samples(dataset: Dataset) -> SampleTable:
    def column(name: str) -> np.ndarray:
        return np.asarray([getattr(s, name) for s in dataset.samples], dtype=np.int32)

    ids = [s.sample_id for s in dataset.samples]
    splits = {
        protocol: np.asarray([SPLIT_CODES.get(split.get(i, ""), 0) for i in ids], dtype=np.uint8)
        for protocol, split in dataset.splits.items()
    }
    return SampleTable(
        np.asarray(ids, dtype=str),
        column("label"),
        column("subject"),
        column("camera"),
        column("setup"),
        splits,
    )


def choose_fields(config: BuildConfig, dataset: Dataset) -> tuple[str, ...]:
    """The fields to build: those asked for, or all that the data set has something for.

    Raises:
        UserError: an unknown field, or one of images where no sample has a video.
    """
    has_video = any(s.video is not None for s in dataset.samples)
    has_skeleton = any(s.skeleton is not None for s in dataset.samples)
    if config.fields is None:
        return tuple(f for f in FIELDS if (has_skeleton if f == "skeleton" else has_video))
    for name in config.fields:
        if name not in FIELDS:
            raise UserError(f"no field {name!r}; there are: {', '.join(FIELDS)}")
        if name != "skeleton" and not has_video:
            raise UserError(f"--field {name}: no sample under {config.source} has a video")
        if name == "skeleton" and not has_skeleton:
            raise UserError(f"--field skeleton: no sample under {config.source} has a skeleton file")
    # Features are made from stored strips, so asking for them asks for strips.
    asked = set(config.fields) | ({"strip"} if {"text", "rgb"} & set(config.fields) else set())
    return tuple(f for f in FIELDS if f in asked)
