"""model.safetensors and model.json: all that is needed to rebuild a skeleton model, and no more."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from mmcl_cache.store import CacheError, Description, Layout, UserError
from mmcl_train.data.clips import ClipSettings
from mmcl_train.method.model import SkeletonModel

from .assembly import create_model
from .checkpoint import load_state, pack, unpack, write_atomically
from .folder import read_json, write_json

FORMAT = 1


@dataclass(frozen=True)
class ModelAbout:
    """What model.json says.

    Args:
        backbone, width, num_bodies, in_channels, classes, layout: of the model.
        stream, clip: of its input.
        dataset, protocol, skeleton_variant: of its training.
        run: name and fingerprint of the run.
        skeleton: settings of the skeleton field, which say how raw files are cleaned; empty where not known.
    """

    backbone: str
    width: float
    layout: Layout
    num_bodies: int
    in_channels: int
    classes: tuple[str, ...]
    stream: str
    clip: ClipSettings
    dataset: str
    protocol: str
    skeleton_variant: str
    run: dict[str, Any]
    skeleton: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        value = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            **value,
            "format": FORMAT,
            "layout": self.layout.to_json(),
            "classes": list(self.classes),
            "clip": dataclasses.asdict(self.clip),
        }


def write_model(folder: Path, state: dict[str, Tensor], about: ModelAbout) -> None:
    """Write model.json, then model.safetensors, each atomically."""
    write_json(folder / "model.json", about.to_json())
    write_atomically(folder / "model.safetensors", pack(state, {"format": "pt"}))


def read_about(folder: Path) -> ModelAbout:
    """Read model.json. Raises UserError where it is not one."""
    path = folder / "model.json"
    value = read_json(path)
    if value.pop("format", None) != FORMAT:
        raise UserError(f"{path}: model format {value.get('format')}, this version reads {FORMAT}")
    try:
        value["layout"] = Layout.from_json(value["layout"])
        value["clip"] = ClipSettings(**{**value["clip"], "crop": tuple(value["clip"]["crop"])})
        value["classes"] = tuple(value["classes"])
        about = ModelAbout(**value)
        check_sizes(about)
        return about
    except (KeyError, TypeError, ValueError, OverflowError, CacheError) as error:
        raise UserError(f"{path}: not a model description ({error})") from None


def check_sizes(about: ModelAbout) -> None:
    """Raises TypeError or ValueError for numbers that no model has: a file may ask for more than memory."""
    for name, most in (("num_bodies", 100), ("in_channels", 64)):
        if type(getattr(about, name)) is not int or not 1 <= getattr(about, name) <= most:
            raise ValueError(f"{name} must be a whole number from 1 to {most}")
    if not 0 < float(about.width) <= 8 or not 1 <= about.clip.length <= 10_000:
        raise ValueError("a width or a clip length that no model has")
    if not about.classes or not all(isinstance(text, str) for text in (about.backbone, *about.classes)):
        raise TypeError("the backbone and the classes are texts")


def read_model(folder: Path, weights: Path | None = None) -> tuple[SkeletonModel, ModelAbout]:
    """Rebuild a skeleton model in eval mode on the host.

    Args:
        folder: with model.json and model.safetensors (a run folder).
        weights: another file of weights of the same model.

    Raises:
        UserError: a file is not there, damaged, or does not fit.
    """
    about = read_about(folder)
    path = weights or folder / "model.safetensors"
    model = create_model(
        about.backbone,
        width=about.width,
        layout=about.layout,
        num_bodies=about.num_bodies,
        clip_length=about.clip.length,
        in_channels=about.in_channels,
        num_classes=len(about.classes),
    )
    try:
        state = unpack(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: weights not readable ({error})") from None
    load_state(model, state, str(path))
    return model.eval(), about


def check_fits(about: ModelAbout, description: Description, where: str) -> None:
    """Raise UserError where a cache's classes, layout or joints' channels are not the model's."""
    theirs, ours = description.classes, about.classes
    numbered = ours == tuple(str(label) for label in range(len(theirs)))  # an imported model knows no names
    if theirs != ours and not numbered:
        first = next(
            (f"{a!r} and {b!r}" for a, b in zip(ours, theirs, strict=False) if a != b),
            "the shorter is a part",
        )
        raise UserError(
            f"{where}: classes differ, the model has {len(ours)}, the cache {len(theirs)} (first: {first})"
        )
    if description.layout != about.layout:
        raise UserError(
            f"{where}: layouts differ, the model has {about.layout.name}, the cache {description.layout.name}"
        )
    if description.channels != about.in_channels:
        raise UserError(
            f"{where}: joints of {description.channels} values, the model takes {about.in_channels}"
        )
