"""Batches of training strips, varied: tiles mirrored, colours and light shifted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipelines.train_embedded_data import TILES, Examples

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # what both image processors are told to use


@dataclass(frozen=True)
class StripBatch:
    """B strips; labels are indices, maps (B, grid, grid)."""

    pixels: Tensor  # (B, 3, size, size), normalised
    objects: Tensor
    people: Tensor
    heights: Tensor
    maps: Tensor


def draw_batches(examples: Examples, size: int, steps: int, rng: np.random.Generator) -> Iterator[StripBatch]:
    """`steps` batches from shuffled passes over the examples."""
    order = np.empty(0, np.int64)
    for _ in range(steps):
        while len(order) < size:
            order = np.concatenate([order, rng.permutation(len(examples))])
        chosen, order = np.sort(order[:size]), order[size:]
        yield _vary(take_batch(examples, chosen), rng)


def take_batch(examples: Examples, chosen: np.ndarray) -> StripBatch:
    """The given examples as they are."""
    pixels = torch.from_numpy(examples.strips[chosen]).permute(0, 3, 1, 2).float().div_(255)
    return StripBatch(
        pixels=(pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1),
        objects=torch.from_numpy(examples.objects[chosen]),
        people=torch.from_numpy(examples.people[chosen]),
        heights=torch.from_numpy(examples.heights[chosen]),
        maps=torch.from_numpy(examples.maps[chosen].astype(np.int64)),
    )


def _vary(batch: StripBatch, rng: np.random.Generator) -> StripBatch:
    size = len(batch.pixels)
    pixels, maps = batch.pixels, batch.maps
    mirrored = torch.from_numpy(rng.random(size) < 0.5)
    pixels[mirrored] = _mirror_tiles(pixels[mirrored])
    maps[mirrored] = _mirror_tiles(maps[mirrored])
    gain = torch.from_numpy(rng.uniform(0.92, 1.08, (size, 3, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.12, 0.12, (size, 1, 1, 1)).astype(np.float32))
    return StripBatch(pixels * gain + shift, batch.objects, batch.people, batch.heights, maps)


def _mirror_tiles(strips: Tensor) -> Tensor:
    """Each tile left for right, the tiles in their order: (..., width)."""
    return strips.unflatten(-1, (TILES, -1)).flip(-1).flatten(-2)


def learning_rate(step: int, steps: int, peak: float, warm_up: int = 40) -> float:
    """Linear warm-up, then a cosine to nothing."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1)))
