"""Pixels made in bytes on the host and normalised on the device are those of transformers' own processors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BlipImageProcessorPil,
    CLIPImageProcessorPil,
    ConvNextImageProcessorPil,
    EfficientNetImageProcessorPil,
    ViTImageProcessorPil,
)

from mmcl_cache.build import tell_slow_preparation
from mmcl_cache.encoders import PreparingEncoder, open_image_encoder, open_text_encoder
from mmcl_cache.encoders.loading import ASSETS, load_image_processor
from mmcl_cache.encoders.preparation import Preparation, ProcessorPreparation, plan_preparation
from mmcl_cache.errors import ModelError

from .conftest import make_images, save_cnn

CPU = torch.device("cpu")
SIDE = {"height": 40, "width": 40}
SIZES = ((40, 40), (64, 64), (96, 48), (30, 75))
PROCESSORS: dict[str, tuple[str, Any]] = {
    "blip": ("pillow", lambda: BlipImageProcessorPil(size=SIDE)),
    "blip, not square": ("pillow", lambda: BlipImageProcessorPil(size={"height": 24, "width": 56})),
    "vit": ("pillow", lambda: ViTImageProcessorPil(size=SIDE)),
    "not normalised": ("pillow", lambda: ViTImageProcessorPil(size=SIDE, do_normalize=False)),
    "not rescaled": ("pillow", lambda: ViTImageProcessorPil(size=SIDE, do_rescale=False)),
    "resnet, cropped": ("processor", lambda: ConvNextImageProcessorPil(size={"shortest_edge": 32})),
    "convnext, large": ("processor", lambda: ConvNextImageProcessorPil(size={"shortest_edge": 384})),
    "clip, cropped": ("processor", lambda: CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SIDE)),
    "embedded vqa": ("pillow", lambda: load_image_processor(ASSETS / "vqa")),
    "embedded cnn": ("pillow", lambda: load_image_processor(ASSETS / "cnn")),
}


def plan(processor: Any, dtype: torch.dtype = torch.float32, **more: Any) -> Preparation:
    return plan_preparation(processor, device=CPU, dtype=dtype, **more)


def pixels(preparation: Preparation, images: list[Image.Image]) -> torch.Tensor:
    return preparation.finish(preparation.load(images))


@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_equal_the_processors_to_the_last_bit_at_every_strip_size(name: str) -> None:
    way, create = PROCESSORS[name]
    processor = create()
    preparation = plan(processor)
    assert preparation.way == way and not preparation.is_slow
    for size in SIZES:
        images = make_images(3, size)
        wanted = processor(images=images, return_tensors="pt")["pixel_values"].float()
        made = pixels(preparation, images)
        assert made.shape == wanted.shape and made.dtype == torch.float32 and made.is_contiguous()
        assert torch.equal(made, wanted)
        assert preparation.load(images).dtype == torch.uint8


def test_grey_images_are_shown_as_rgb() -> None:
    processor = BlipImageProcessorPil(size=SIDE)
    grey = [image.convert("L") for image in make_images(2, (50, 70))]
    wanted = processor(images=[image.convert("RGB") for image in grey], return_tensors="pt")["pixel_values"]
    assert torch.equal(pixels(plan(processor), grey), wanted)


def test_half_precision_is_the_float32_value_rounded_once() -> None:
    processor = BlipImageProcessorPil(size=SIDE)
    images = make_images(2, (64, 48))
    wanted = processor(images=images, return_tensors="pt")["pixel_values"].to(torch.bfloat16)
    assert torch.equal(pixels(plan(processor, torch.bfloat16), images), wanted)


def test_settings_given_at_the_call_count_as_the_processors_own() -> None:
    overrides = {"size": {"height": 24, "width": 24}, "do_center_crop": False}
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SIDE)
    preparation = plan(processor, overrides=overrides)
    images = make_images(2, (64, 48))
    assert preparation.way == "pillow"
    wanted = processor(images=images, return_tensors="pt", **overrides)["pixel_values"]
    assert torch.equal(pixels(preparation, images), wanted)


class Tinted(BlipImageProcessorPil):
    """Does with pixels what its settings do not say."""

    def normalize(self, image: np.ndarray, mean: Any, std: Any, **more: Any) -> np.ndarray:
        return super().normalize(image, mean, std, **more) ** 2


class Mirrored(BlipImageProcessorPil):
    """Shapes images as its settings do not say."""

    def resize(self, image: np.ndarray, *given: Any, **more: Any) -> np.ndarray:
        return super().resize(image, *given, **more)[..., ::-1]


@pytest.mark.parametrize(
    "create",
    [lambda: Tinted(size=SIDE), lambda: EfficientNetImageProcessorPil(size=SIDE, rescale_offset=True)],
)
def test_a_processor_that_does_something_else_is_used_itself(create: Any) -> None:
    processor = create()
    preparation = plan(processor)
    assert isinstance(preparation, ProcessorPreparation) and preparation.is_slow
    images = make_images(2, (64, 48))
    assert torch.equal(
        pixels(preparation, images), processor(images=images, return_tensors="pt")["pixel_values"]
    )


def test_a_processor_with_a_shape_of_its_own_keeps_it() -> None:
    processor = Mirrored(size=SIDE)
    preparation = plan(processor)
    images = make_images(2, (64, 48))
    assert preparation.way == "processor"
    wanted = processor(images=images, return_tensors="pt")["pixel_values"]
    assert torch.equal(pixels(preparation, images), wanted)


def test_a_slow_preparation_is_told_once_and_a_fast_one_not(tmp_path, blip_folder) -> None:
    encoders = {
        "text": open_text_encoder(str(blip_folder), ["what object is held?"], device="cpu"),
        "rgb": open_image_encoder(str(save_cnn(tmp_path)), device="cpu"),
    }
    said: list[str] = []
    tell_slow_preparation(encoders, said.append)
    assert said == []
    rgb = encoders["rgb"]
    assert isinstance(rgb, PreparingEncoder)
    rgb.preparation = plan(Tinted(size=SIDE))
    tell_slow_preparation(encoders, said.append)
    assert len(said) == 1 and "rgb" in said[0] and "Tinted" in said[0] and "\n" not in said[0]


def test_threads_do_not_change_a_pixel() -> None:
    preparation = plan(BlipImageProcessorPil(size=SIDE))
    batches = [make_images(4, (64, 48), seed) for seed in range(8)]
    alone = [preparation.load(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(preparation.load, batches))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def test_images_that_come_out_in_several_sizes_are_one_line() -> None:
    preparation = plan(CLIPImageProcessorPil(size={"shortest_edge": 32}, do_center_crop=False))
    with pytest.raises(ModelError, match="one size at a time") as error:
        preparation.load([*make_images(1, (64, 32)), *make_images(1, (32, 64))])
    assert "\n" not in str(error.value)
