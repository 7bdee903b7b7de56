"""Image classifiers, and Inception-v3 through libraries that may not be there."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification

from mmcl_cache.encoders import inception, open_image_encoder
from mmcl_cache.errors import ModelError

from .conftest import make_images, pixels_of, save_cnn


@pytest.mark.parametrize(("kind", "labels", "width"), [("resnet", 7, 12), ("convnext", 5, 20)])
def test_logits_and_pooled_features_are_those_of_the_model(
    tmp_path, kind: str, labels: int, width: int
) -> None:
    save_cnn(tmp_path, kind)
    encoder = open_image_encoder(str(tmp_path), device="cpu")
    assert [c.shape for c in encoder.columns] == [(labels,), (width,)]
    images = make_images(3, (48, 48))
    rows = encoder.encode(images)
    model = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        output = model(pixel_values=pixels_of(encoder, images), output_hidden_states=True)
    for n, row in enumerate(rows):
        assert row["logits"].dtype == row["pooled"].dtype == np.float16
        np.testing.assert_allclose(row["logits"], output.logits[n], atol=2e-3)
    if kind == "resnet":
        np.testing.assert_allclose(rows[0]["pooled"], output.hidden_states[-1][0].mean((1, 2)), atol=4e-3)


def test_batched_equals_single(tmp_path) -> None:
    encoder = open_image_encoder(str(save_cnn(tmp_path)), device="cpu")
    images = make_images(4, (48, 48))
    for row, image in zip(encoder.encode(images), images, strict=True):
        np.testing.assert_allclose(encoder.encode([image])[0]["logits"], row["logits"], atol=2e-3)


@pytest.mark.parametrize("kind", ["resnet", "convnext"])
def test_an_image_size_resizes_the_whole_strip(tmp_path, kind: str) -> None:
    encoder = open_image_encoder(str(save_cnn(tmp_path, kind)), device="cpu", image_size=40)
    assert encoder.settings["image_size"] == [40, 40]
    assert pixels_of(encoder, make_images(2, (480, 480))).shape == (2, 3, 40, 40)


def test_a_model_of_another_kind_is_refused(blip_folder: Path) -> None:
    with pytest.raises(ModelError, match="BlipForQuestionAnswering, not an image classifier"):
        open_image_encoder(str(blip_folder), device="cpu")


class TinyInception(torch.nn.Module):
    """Stands in for torchvision's: the same attribute, the same input."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = torch.nn.Linear(6, 1000)
        self.shown: list[torch.Tensor] = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.shown.append(pixels)
        return self.fc(torch.cat([pixels.mean((2, 3)), pixels.std((2, 3))], 1))


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **contents: object) -> None:
    module = types.ModuleType(name)
    for key, value in contents.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)


def test_inception_shows_the_whole_strip_at_299_in_minus_one_to_one(monkeypatch) -> None:
    model = TinyInception()
    asked: list[dict[str, object]] = []

    def inception_v3(**options: object) -> TinyInception:
        asked.append(options)
        return model

    stand_in(monkeypatch, "torchvision")
    stand_in(monkeypatch, "torchvision.models", inception_v3=inception_v3)
    encoder = open_image_encoder("inception_v3", device="cpu")
    rows = encoder.encode(make_images(2, (480, 480)))
    assert asked == [{"weights": "IMAGENET1K_V1", "transform_input": False}]
    assert model.shown[0].shape == (2, 3, 299, 299)
    assert model.shown[0].min() >= -1 and model.shown[0].max() <= 1
    assert rows[0]["logits"].shape == (1000,) and rows[0]["pooled"].shape == (6,)
    bytes_ = np.stack(
        [image.resize((299, 299), Image.Resampling.BILINEAR) for image in make_images(2, (480, 480))]
    )
    published = (torch.from_numpy(bytes_).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    assert torch.equal(model.shown[0], published)
    assert encoder.info["library"] == "torchvision" and "torchvision" not in str(encoder.settings)


def test_inception_falls_back_to_timm_where_torchvision_is_broken(monkeypatch) -> None:
    real = importlib.import_module

    def load(name: str, package: str | None = None) -> types.ModuleType:
        if name == "torchvision.models":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name, package)

    monkeypatch.setattr(inception.importlib, "import_module", load)
    stand_in(monkeypatch, "timm", create_model=lambda name, pretrained: TinyInception())
    assert open_image_encoder("inception_v3", device="cpu").info["library"] == "timm"


def test_inception_without_its_libraries_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match="needs torchvision or timm") as error:
        open_image_encoder("inception_v3", device="cpu")
    assert "\n" not in str(error.value)


def test_inception_weights_that_cannot_be_fetched_are_one_line(monkeypatch) -> None:
    def refuse(**options: object) -> None:
        raise OSError("urlopen error: name or service not known\nmore")

    stand_in(monkeypatch, "torchvision")
    stand_in(monkeypatch, "torchvision.models", inception_v3=refuse)
    with pytest.raises(ModelError, match="weights cannot be had"):
        open_image_encoder("inception_v3", device="cpu")
