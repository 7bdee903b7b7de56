"""From a config to resident data: what is read from the cache, checked and said."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmcl_cache.store import Cache, Description, UserError, cache_fingerprint, open_cache
from mmcl_train.backbones import BACKBONES
from mmcl_train.config import MethodConfig, RunConfig
from mmcl_train.data.clips import ClipSettings, clip_settings
from mmcl_train.data.resident import ResidentSplit, SplitSettings, load_split
from mmcl_train.data.splits import Split, split_samples
from mmcl_train.data.streams import STREAMS
from mmcl_train.method.auxiliary import AUXILIARIES

from .origin import describe_cache


@dataclass(frozen=True)
class Inputs:
    """All a run reads.

    Args:
        description: of the cache.
        train, val, test: resident; val is None where nothing is held out.
        fields: fingerprints of the plan and of every field variant read.
        notes: lines to print.
        val_about: what val is, in words.
        skeleton: settings of the skeleton field.
        origin: what the fingerprints are taken of; see `origin`.
    """

    description: Description
    train: ResidentSplit
    val: ResidentSplit | None
    test: ResidentSplit
    fields: dict[str, str]
    notes: tuple[str, ...]
    val_about: str
    skeleton: dict[str, Any]
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)

    def split(self, name: str) -> ResidentSplit:
        """A split by name. Raises UserError for val where nothing was held out."""
        split = {"train": self.train, "val": self.val, "test": self.test}.get(name)
        if split is None:
            raise UserError(
                f"split {name!r}: this run has {'train, val, test' if self.val else 'train and test, val is none'}"
            )
        return split


def resolve(config: RunConfig, description: Description) -> RunConfig:
    """Fill in what the config leaves to the cache: protocol, clip transform and length; and the auxiliary objective.

    Raises:
        UserError: the cache lacks the protocol, or an unknown stream or transform is asked for.
    """
    protocol = config.data.protocol or description.protocols[0]
    if protocol not in description.protocols:
        raise UserError(f"the cache has no protocol {protocol!r}; it has {', '.join(description.protocols)}")
    if config.data.stream not in STREAMS:
        raise UserError(f"unknown stream {config.data.stream!r}; known: {', '.join(STREAMS)}")
    clip = make_clip(config, description)
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, protocol=protocol),
        clip=dataclasses.replace(config.clip, transform=clip.transform, length=clip.length),
        method=resolve_auxiliary(config),
    )


def resolve_auxiliary(config: RunConfig) -> MethodConfig:
    """The method's settings with the auxiliary objective named, "none" or as asked, and its weight filled in."""
    known = BACKBONES.get(config.model.backbone)  # an unknown one is refused where it is built
    name = config.method.auxiliary or (known.own_auxiliary if known else "") or "none"
    weight = config.method.auxiliary_weight if name != "none" else 0.0
    if name != "none" and not weight:
        weight = AUXILIARIES[name].weight
    return dataclasses.replace(config.method, auxiliary=name, auxiliary_weight=weight)


def make_clip(config: RunConfig, description: Description) -> ClipSettings:
    """The cache's clip transform with the config's settings in place. Raises UserError for what cannot be."""
    clip = config.clip
    try:
        return clip_settings(
            description.clip,
            clip.transform,
            clip.length,
            crop=clip.crop,
            test_crop=clip.test_crop,
            rotation=clip.rotation,
            shortest=clip.shortest,
        )
    except ValueError as error:
        raise UserError(f"clip: {error}") from None


class InputLoader:
    """Loads inputs, and gives the same resident data again to runs that need the same (a sweep loads once).

    Args:
        cache: path of the cache.
        device: of the training.
    """

    def __init__(self, cache: Path, device: torch.device) -> None:
        self.cache: Cache = open_cache(cache)
        self.device = device
        self._splits: dict[tuple[object, ...], ResidentSplit] = {}

    def load(self, config: RunConfig, say: Callable[[str], None] = print) -> Inputs:
        """Resident splits of a resolved config.

        Raises:
            UserError: a field or variant is missing or damaged, no row of one is usable, or the batch is too large.
        """
        ids = split_samples(self.cache.samples, config.data.protocol, config.data.val, config.data.val_share)
        fields = choose_fields(config)
        self.check_fields(fields)
        skeleton = {"skeleton": fields["skeleton"]}
        train = self._load("train", ids, config, fields)
        check_batch(config, len(train))
        inputs = Inputs(
            description=self.cache.description,
            train=train,
            val=self._load("val", ids, config, skeleton) if len(ids.val) else None,
            test=self._load("test", ids, config, skeleton),
            fields=self.fingerprints(fields),
            notes=(ids.about, *(f"train: {line}" for line in train.describe())),
            val_about=ids.about,
            skeleton=self.cache.field("skeleton", fields["skeleton"]).settings,
            origin=describe_cache(self.cache, fields),
        )
        for line in inputs.notes:
            say(line)
        return inputs

    def check_fields(self, fields: Mapping[str, str]) -> None:
        """Raise UserError where the cache lacks a field variant to co-learn from."""
        there = self.cache.fields()
        for field, variant in fields.items():
            if field != "skeleton" and variant not in there.get(field, []):
                known = [f"{name}/{one}" for name, variants in there.items() for one in variants]
                raise UserError(
                    f"{self.cache.path} has no {field}/{variant} to co-learn from (it has "
                    f"{', '.join(known) or 'nothing yet'}): build it with `mmcl-cache build --field {field}`, "
                    "or train with --no-mmcl"
                )

    def fingerprints(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Fingerprint of the plan, and of each field variant that a run reads, by name."""
        opened = [self.cache.field(field, variant) for field, variant in fields.items()]
        return {
            "plan": cache_fingerprint(self.cache, []),
            **{field.name: field.fingerprint for field in opened},
        }

    def _load(self, name: str, ids: Split, config: RunConfig, fields: Mapping[str, str]) -> ResidentSplit:
        data = config.data
        clip = make_clip(config, self.cache.description)
        key = (
            *(name, data.protocol, data.val, data.val_share, data.placement),
            *(data.text_feature, data.rgb_feature, *fields.items()),
        )
        sample_ids: np.ndarray = getattr(ids, name)
        try:
            if key not in self._splits:
                settings = SplitSettings(
                    stream=data.stream,
                    clip=clip,
                    skeleton_variant=fields["skeleton"],
                    text_variant=fields.get("text", ""),
                    rgb_variant=fields.get("rgb", ""),
                    strip_variant=fields.get("strip", ""),
                    text_feature=data.text_feature,
                    rgb_feature=data.rgb_feature,
                    placement=data.placement,
                )
                self._splits[key] = load_split(self.cache, sample_ids, self.device, settings)
            return self._splits[key].view(data.stream, clip)
        except ValueError as error:
            raise UserError(str(error)) from None


def choose_fields(config: RunConfig) -> dict[str, str]:
    """Field → variant of all that training reads; val and test read the skeleton alone."""
    data, method = config.data, config.method
    fields = {"skeleton": data.skeleton_variant}
    if method.enabled and method.frm:
        fields["text"] = data.text_variant
    if method.enabled and method.fam:
        online = method.rgb == "online"
        fields["strip" if online else "rgb"] = data.strip_variant if online else data.rgb_variant
    return fields


def check_batch(config: RunConfig, count: int) -> None:
    """Raise UserError where a batch is larger than an epoch's samples, or too small for the contrast."""
    batch, epoch = config.train.batch, count * config.data.repeat
    if batch > epoch:
        raise UserError(
            f"train.batch is {batch}, but an epoch has {epoch} samples; set a smaller one, "
            f"for example --set train.batch={min(count, 16)}"
        )
    part = batch // config.train.accumulation
    if config.method.enabled and config.method.fam and part < 2:
        raise UserError(
            f"train.batch {batch} in {config.train.accumulation} parts leaves the contrastive loss without negatives"
        )
