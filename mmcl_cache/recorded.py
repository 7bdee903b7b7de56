"""The settings a cache was built with, read back from its field variants, so that rows of it can be made again.

What a variant recorded may be wrong for this machine (a model's folder) or for these versions of the libraries; the
fingerprint of what is opened with these settings is always compared with that of the variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from mmcl_cache.config import BuildConfig, StripSettings
from mmcl_cache.datasets import Dataset
from mmcl_cache.encoders import Encoder
from mmcl_cache.engines.job import add_field, open_encoders
from mmcl_cache.errors import UserError
from mmcl_cache.store import Cache, Field


@dataclass(frozen=True)
class Machine:
    """What may be another here than where the cache was built; none of it changes bytes.

    Args:
        source: folder of the data set's files.
        models: field variant, such as "text/default", → hub id or folder of its model; else the recorded one.
        workers, deadline, decoder, device: as `BuildConfig`.
    """

    source: Path
    models: Mapping[str, str] = field(default_factory=dict)
    workers: int | None = None
    deadline: float = 60.0
    decoder: str = "auto"
    device: str = "auto"


def recorded_config(cache: Cache, variant: Field, machine: Machine) -> BuildConfig:
    """The settings with which `build` makes this field variant.

    Raises:
        UserError: the model of a detector is not recorded and not given.
    """
    config = BuildConfig(
        dataset=cache.description.dataset,
        source=machine.source,
        cache=cache.path,
        fields=(variant.field,),
        variants={variant.field: variant.variant},
        shard_size=cache.shard_size,
        workers=machine.workers,
        deadline=machine.deadline,
        decoder=machine.decoder,
        device=machine.device,
    )
    model = machine.models.get(variant.name) or variant.info.get("model")
    if variant.field == "skeleton":
        return config
    if variant.field == "strip":
        strip = StripSettings(**{f.name: variant.settings[f.name] for f in fields(StripSettings)})
        if strip.crop == "detector" and model is None:
            raise UserError(
                f"{variant.name} was cropped by a detector: name it with --model {variant.name}=MODEL"
            )
        return replace(config, strip=strip, detector=model)
    if model is None:
        raise UserError(f"{variant.name} does not say its model: name it with --model {variant.name}=MODEL")
    return _with_model(config, variant, model)


def _with_model(config: BuildConfig, variant: Field, model: str) -> BuildConfig:
    settings = variant.settings
    config = replace(config, batch_size=settings["batch_size"], dtype=settings["dtype"])
    if variant.field == "rgb":
        return replace(config, cnn=model)
    return replace(
        config,
        vqa=model,
        questions=tuple(settings["questions"]),
        choices=tuple(settings["choices"]),
        image_size=_side(settings["image_size"]),
        enc_token=settings.get("enc_token", False),
        max_tokens=settings["max_tokens"],
        compile_vision=settings.get("compiled", False),
    )


def _side(size: Any) -> int | None:
    """BLIP records [height, width]; what `--image-size` can say is one side."""
    if isinstance(size, list):
        return size[0] if size[0] == size[1] else None
    return size


def open_again(
    cache: Cache, dataset: Dataset, variant: Field, config: BuildConfig, strip: Field | None = None
) -> dict[str, Encoder]:
    """Open what makes a field variant, and see that it is what made it.

    Args:
        strip: what a text or rgb variant was made from.

    Returns:
        the model of a text or rgb variant, under the field's name.

    Raises:
        ModelError: a model cannot be had.
        StaleCacheError: it would be made otherwise now; the settings that differ are named.
    """
    encoders = open_encoders(config, (variant.field,))
    add_field(config, dataset, cache, variant.field, {"strip": strip} if strip is not None else {}, encoders)
    return encoders
