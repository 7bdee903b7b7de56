"""From images to a model's pixels: Pillow's part on the host, in bytes; the arithmetic on the model's device.

transformers' own processor is the reference: what is planned here gives its values, tried out on drawn images of
several sizes when a model is opened. Where it does not, the processor itself is used, at several times the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmcl_cache.encoders.batches import EncodedRow, Encoder
from mmcl_cache.errors import ModelError

Shape = Callable[[Sequence[Image.Image]], Iterable[np.ndarray]]
"""Gives each RGB image the size, and cuts what is cut off: (H, W, 3) uint8."""

# Width and height of the drawn images: a published strip, wide, tall, smaller than most models' input.
_TRIED_SIZES = ((480, 480), (500, 310), (220, 390), (64, 48))
# Of normalised values. One level of 255 is at least a thousand times as much.
_TOLERANCE = 1e-6
# What a processor raises that is asked for a step less than it always takes.
_REFUSALS = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class Preparation(Protocol):
    """How a model's pixels are made.

    Attributes:
        way: in words.
        is_slow: the processor itself does all of it, on the host.
    """

    way: str
    is_slow: bool

    def load(self, images: Sequence[Image.Image]) -> Tensor:
        """The host's part for N images: a tensor there, N first. From any thread."""
        ...

    def finish(self, loaded: Tensor) -> Tensor:
        """(N, 3, H, W) on the model's device, in its number type."""
        ...


@runtime_checkable
class PreparingEncoder(Encoder, Protocol):
    """An encoder whose input can be made ahead of its turn, in any thread; ``encode`` is both steps."""

    preparation: Preparation

    def prepare(self, images: Sequence[Image.Image]) -> Tensor:
        """The host's part, see ``Preparation.load``."""
        ...

    def encode_prepared(self, loaded: Tensor) -> list[EncodedRow]:
        """One row an image of what ``prepare`` gave."""
        ...


class BytePreparation:
    """Bytes to the device, rescaled and normalised there: a fourth of what float32 pixels would move.

    Rescaling is done in float64 and rounded to float32, normalising in float32 and in two steps, as transformers does
    it in NumPy: values are the same to the last bit.

    Args:
        shape: Pillow's part.
        factor: a byte times this is the rescaled value.
        mean, std: (3,), of rescaled values.
        device, dtype: the model's.
        way: in words.
    """

    is_slow = False

    def __init__(
        self,
        shape: Shape,
        factor: float,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        device: torch.device,
        dtype: torch.dtype,
        way: str = "pillow",
    ) -> None:
        self.way = way
        self._shape, self._device, self._dtype = shape, device, dtype
        self._factor = torch.full((1, 1, 1), factor, dtype=torch.float64, device=device)
        self._mean, self._std = (
            torch.tensor(list(values), dtype=torch.float32, device=device).view(3, 1, 1)
            for values in (mean, std)
        )

    def load(self, images: Sequence[Image.Image]) -> Tensor:
        """(N, H, W, 3) uint8; in pinned memory where the model is on a GPU.

        Raises:
            ModelError: images of several sizes come out in several sizes.
        """
        batch = torch.empty(0, dtype=torch.uint8)
        for n, pixels in enumerate(self._shape([_as_rgb(image) for image in images])):
            if n == 0:
                on_gpu = self._device.type == "cuda"
                batch = torch.empty((len(images), *pixels.shape), dtype=torch.uint8, pin_memory=on_gpu)
                slots = batch.numpy()
            if pixels.shape != slots.shape[1:] or pixels.dtype != np.uint8:
                raise ModelError(
                    f"a model takes images of one size at a time, not {pixels.shape[:2]} after {slots.shape[1:3]} "
                    "pixels; strips of one field have one size, build the strip field again"
                )
            slots[n] = pixels
        return batch

    def finish(self, loaded: Tensor) -> Tensor:
        """See ``Preparation``."""
        moved = loaded.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        pixels = torch.empty(moved.shape, dtype=torch.float32, device=self._device)
        # A processor's caches hold one image and its float64, not a batch of them.
        step = 1 if self._device.type == "cpu" else max(1, len(moved))
        for taken, made in zip(moved.split(step), pixels.split(step), strict=True):
            torch.mul(taken, self._factor, out=made)
            made.sub_(self._mean).div_(self._std)
        return pixels.to(self._dtype)


class ProcessorPreparation:
    """All of it by a processor of transformers, through NumPy on the host.

    Args:
        processor: called with the images and `overrides`.
        device, dtype: the model's.
    """

    is_slow = True

    def __init__(
        self, processor: Any, overrides: Mapping[str, Any], *, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.way = type(processor).__name__
        self._processor, self._overrides = processor, dict(overrides)
        self._device, self._dtype = device, dtype

    def load(self, images: Sequence[Image.Image]) -> Tensor:
        """(N, 3, H, W) float32."""
        converted = [_as_rgb(image) for image in images]
        made = self._processor(images=converted, return_tensors="pt", **self._overrides)
        pixels: Tensor = made["pixel_values"]
        return pixels

    def finish(self, loaded: Tensor) -> Tensor:
        """See ``Preparation``."""
        return loaded.to(self._device, self._dtype)


def plan_preparation(
    processor: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    overrides: Mapping[str, Any] | None = None,
) -> Preparation:
    """The cheapest way to what a processor makes: Pillow's resize, else the processor without its arithmetic, else all
    of it.

    Args:
        processor: an image processor of transformers, Pillow's back end.
        overrides: settings it is called with.
    """
    settings = dict(overrides or {})
    whole = ProcessorPreparation(processor, settings, device=device, dtype=dtype)
    scale = _read_scale(processor, settings)
    if scale is None:
        return whole
    shapes = {
        "pillow": _resize_alone(processor, settings),
        "processor": _leave_out_scale(processor, settings),
    }
    samples = _draw_images()
    wanted = [whole.load([sample]).float() for sample in samples]
    for way, shape in shapes.items():
        if shape is None:
            continue
        # Compared before rounding to the model's type.
        tried = BytePreparation(shape, *scale, device=device, dtype=torch.float32)
        if _agree(tried, samples, wanted):
            return BytePreparation(shape, *scale, device=device, dtype=dtype, way=way)
    return whole


def _agree(tried: Preparation, samples: Sequence[Image.Image], wanted: Sequence[Tensor]) -> bool:
    try:
        made = [tried.finish(tried.load([sample])).cpu() for sample in samples]
    except (*_REFUSALS, ModelError):
        return False
    return all(
        one.shape == other.shape and bool((one - other).abs().max() <= _TOLERANCE)
        for one, other in zip(made, wanted, strict=True)
    )


def _read_scale(
    processor: Any, overrides: Mapping[str, Any]
) -> tuple[float, tuple[float, ...], tuple[float, ...]] | None:
    """Factor, mean and deviation of a processor; None where it has no such numbers."""

    def read(name: str) -> Any:
        return overrides.get(name, getattr(processor, name, None))

    try:
        factor = float(read("rescale_factor")) if read("do_rescale") else 1.0
        if not read("do_normalize"):
            return factor, (0.0,) * 3, (1.0,) * 3
        mean, std = (
            tuple(float(x) for x in np.broadcast_to(read(name), 3)) for name in ("image_mean", "image_std")
        )
    except (TypeError, ValueError):
        return None
    return factor, mean, std


def _resize_alone(processor: Any, overrides: Mapping[str, Any]) -> Shape | None:
    """Pillow's resize to one size, where the processor's settings say no more than that."""

    def read(name: str) -> Any:
        return overrides.get(name, getattr(processor, name, None))

    size, resample = read("size") or {}, read("resample")
    height, width = size.get("height"), size.get("width")
    if not read("do_resize") or read("do_center_crop") or not height or not width or resample is None:
        return None
    target = (int(width), int(height))

    def resize(images: Sequence[Image.Image]) -> Iterator[np.ndarray]:
        for image in images:
            # Pillow copies an image that has the size already.
            yield np.asarray(image if image.size == target else image.resize(target, resample))

    return resize


def _leave_out_scale(processor: Any, overrides: Mapping[str, Any]) -> Shape:
    """The processor's own sizes and cuts, its arithmetic left out."""
    settings = {**overrides, "do_rescale": False, "do_normalize": False}

    def shape(images: Sequence[Image.Image]) -> Iterator[np.ndarray]:
        made = processor(images=list(images), **settings)["pixel_values"]
        return (np.moveaxis(np.asarray(each), 0, -1) for each in made)

    return shape


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _draw_images() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in _TRIED_SIZES
    ]
