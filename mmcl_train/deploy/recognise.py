"""What a published state dict is of: its backbone by its names, its sizes by its shapes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from mmcl_cache.store import LAYOUTS, Layout
from mmcl_train.backbones import BACKBONES, create_backbone
from mmcl_train.backbones.published import (
    PublishedKeyError,
    find_sources,
    import_published,
    own_tensors,
    resolve_aliases,
)
from mmcl_train.method.model import SkeletonModel

MOST_OF_IT = 0.1  # misfits a name of a tensor, under which a state dict is taken to be a backbone's


@dataclass(frozen=True)
class Sizes:
    """What a state dict does not say by its names.

    Args:
        layout, num_bodies, clip_length, in_channels, width: as `create_backbone` takes them.
    """

    layout: Layout
    num_bodies: int
    clip_length: int = 64
    in_channels: int = 3
    width: float = 1.0


def create_hollow(backbone: str, sizes: Sizes, num_classes: int) -> SkeletonModel:
    """A model without values (on the meta device). Raises ValueError for sizes the backbone cannot take."""
    with torch.device("meta"):
        return create_filled(backbone, sizes, num_classes).to("meta")  # what came from numpy has values still


def create_filled(backbone: str, sizes: Sizes, num_classes: int) -> SkeletonModel:
    """A model as constructed. Raises ValueError for sizes the backbone cannot take."""
    made = create_backbone(
        backbone,
        layout=sizes.layout,
        num_bodies=sizes.num_bodies,
        clip_length=sizes.clip_length,
        in_channels=sizes.in_channels,
        width=sizes.width,
    )
    return SkeletonModel(made, num_classes)


def import_state(model: SkeletonModel, state: Mapping[str, Tensor]) -> None:
    """Fill a model by its backbone's key map, strictly. Raises PublishedKeyError for what does not fit."""
    backbone = model.backbone
    import_published(
        model, state, backbone.published_rules, backbone.published_ignored, backbone.published_aliases
    )


@dataclass(frozen=True)
class PublishedNames:
    """What a backbone's own checkpoints hold: names, names that may be there, second names."""

    names: frozenset[str]
    ignored: tuple[str, ...]
    aliases: Mapping[str, str]


@cache
def published_names(backbone: str, sizes: Sizes) -> PublishedNames:
    """The names of a backbone's checkpoints. Raises ValueError for sizes the backbone cannot take."""
    model = create_hollow(backbone, sizes, 2)
    made = model.backbone
    sources = find_sources(list(own_tensors(model)), made.published_rules)
    names = frozenset(name for source in sources.values() for name in source.names)
    return PublishedNames(names, made.published_ignored, made.published_aliases)


def count_misfits(backbone: str, sizes: Sizes, state: Mapping[str, Tensor]) -> int:
    """Names that the backbone lacks in the state dict, and names of it that nobody takes.

    Raises:
        ValueError: sizes the backbone cannot take.
    """
    published = published_names(backbone, sizes)
    found = set(resolve_aliases(state, published.aliases))
    left_over = [
        name
        for name in found - published.names
        if not any(re.fullmatch(pattern, name) for pattern in published.ignored)
    ]
    return len(published.names - found) + len(left_over)


def has_shapes_of(model: SkeletonModel, state: Mapping[str, Tensor]) -> bool:
    """Would the state dict fill this hollow model."""
    try:
        import_state(model, {name: value.to("meta") for name, value in state.items()})
    except PublishedKeyError:
        return False
    return True


def find_backbones(state: Mapping[str, Tensor], sizes: Sizes) -> list[str]:
    """Registered backbones that nearly all names of a state dict are of, best first."""
    found = []
    for name in BACKBONES:
        try:
            misfits = count_misfits(name, sizes, state)
        except ValueError:  # a backbone that cannot take these sizes
            continue
        if misfits <= MOST_OF_IT * len(state):
            found.append((misfits, name))
    return [name for misfits, name in sorted(found) if misfits == min(found)[0]]


def find_sizes(backbone: str, state: Mapping[str, Tensor], given: Sizes, num_classes: int) -> Iterator[Sizes]:
    """Layouts and numbers of bodies with which the state dict fits the backbone, those nearest to the given first."""
    layouts = [given.layout, *(layout for layout in LAYOUTS.values() if layout != given.layout)]
    for layout in layouts:
        for bodies in dict.fromkeys((given.num_bodies, 2, 1)):
            sizes = Sizes(layout, bodies, given.clip_length, given.in_channels, given.width)
            try:
                model = create_hollow(backbone, sizes, num_classes)
            except ValueError:
                continue
            if has_shapes_of(model, state):
                yield sizes


def count_classes(model: SkeletonModel, state: Mapping[str, Tensor]) -> int:
    """Rows of the classifier's weight in the state dict; 0 where it has none under this backbone's name."""
    names = [f"classifier.{name}" for name in model.classifier.state_dict()]
    sources = find_sources(names, model.backbone.published_rules)
    weights = [
        state[name]
        for source in sources.values()
        for name in source.names
        if name in state and state[name].ndim >= 2
    ]
    return int(weights[0].shape[0]) if weights else 0
