"""Inception-v3, the published CNN of the RGB branch. transformers has none: torchvision's or timm's, if installed."""

from __future__ import annotations

import hashlib
import importlib
import threading
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmcl_cache.encoders.cnn import make_image_rows, rgb_columns
from mmcl_cache.encoders.preparation import BytePreparation, Preparation
from mmcl_cache.errors import ModelError

INCEPTION = "inception_v3"
SIZE = 299
# Both sets of weights are those of the publication, trained on pixels in [-1, 1]. torchvision's loader says
# "ImageNet mean and deviation" and turns that back inside the model (transform_input), which is the same thing.
_MEAN = _STD = 0.5
_TIMM_NAME = "inception_v3.tv_in1k"


class InceptionEncoder:
    """Inception-v3 with its ImageNet weights: 1000 logits and the 2048 values its classifier reads.

    Preprocessing as in the released code of MMCL: the shorter side to 299 px (the canvas is square, so 299 × 299),
    bilinear with Pillow, nothing cut off, the ImageNet normalisation.

    Args:
        device, dtype: where and in what the model runs.
        image_size: None or 299 is the published size.

    Raises:
        ModelError: neither torchvision nor timm can be imported, or the weights cannot be had.
    """

    def __init__(self, *, device: torch.device, dtype: torch.dtype, image_size: int | None = None) -> None:
        self._size = SIZE if image_size is None else image_size
        if not 75 <= self._size <= 4096:
            raise ModelError(f"image size {self._size}: Inception-v3 takes 75 to 4096 pixels")
        model, source = _open_model()
        self._model = model.eval().requires_grad_(False).to(device, dtype)
        self.preparation: Preparation = BytePreparation(
            self._resize, 1 / 255, (_MEAN,) * 3, (_STD,) * 3, device=device, dtype=dtype
        )
        self._here = threading.local()  # several threads may be in the model at once
        self._model.fc.register_forward_pre_hook(self._keep_input)
        self.settings: dict[str, Any] = {
            "encoder": INCEPTION,
            "weights_sha256": _hash_parameters(model),
            "dtype": str(dtype).removeprefix("torch."),
            "image_size": [self._size, self._size],
            "image_processor": "pillow-bilinear",
        }
        self.columns = rgb_columns(self._model.fc.out_features, self._model.fc.in_features)
        self.info: dict[str, Any] = {
            "device": str(device),
            "library": source,
            "parameters": sum(p.numel() for p in self._model.parameters()),
        }

    def prepare(self, images: Sequence[Image.Image]) -> Tensor:
        """The host's part of N images, to be made in any thread."""
        return self.preparation.load(images)

    def encode(self, images: Sequence[Image.Image]) -> list[dict[str, np.ndarray | str]]:
        """One dict of the ``rgb`` columns an image."""
        return self.encode_prepared(self.prepare(images))

    @torch.inference_mode()
    def encode_prepared(self, loaded: Tensor) -> list[dict[str, np.ndarray | str]]:
        """One dict of the ``rgb`` columns an image of what ``prepare`` gave."""
        logits = self._model(self.preparation.finish(loaded))
        pooled = self._here.__dict__.pop("head_input")
        return make_image_rows(logits, pooled.flatten(1))

    def _resize(self, images: Sequence[Image.Image]) -> Iterator[np.ndarray]:
        for image in images:
            scale = self._size / min(image.size)
            size = (max(self._size, int(image.width * scale)), max(self._size, int(image.height * scale)))
            yield np.asarray(image.resize(size, Image.Resampling.BILINEAR))

    def _keep_input(self, module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._here.head_input = inputs[0]


def _open_model() -> tuple[Any, str]:
    """The model and the library it came from.

    Raises:
        ModelError: no library, or no weights.
    """
    models, reason = _import_library("torchvision.models")
    if models is not None:
        # The pixels are already in [-1, 1] here, so the model's own turning back stays off.
        return _load(
            lambda: models.inception_v3(weights="IMAGENET1K_V1", transform_input=False)
        ), "torchvision"
    timm, _ = _import_library("timm")
    if timm is not None:
        return _load(lambda: timm.create_model(_TIMM_NAME, pretrained=True)), "timm"
    raise ModelError(
        f"{INCEPTION}: needs torchvision or timm ({reason}); pip install the torchvision that fits this torch, "
        "or name a CNN of transformers"
    )


def _import_library(name: str) -> tuple[ModuleType | None, str]:
    """The module or None, and why. A torchvision built for another torch fails with a RuntimeError."""
    try:
        return importlib.import_module(name), ""
    except (ImportError, RuntimeError, OSError) as error:
        return None, str(error).splitlines()[0][:120] if str(error) else type(error).__name__


def _load(load: Any) -> Any:
    try:
        return load()
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        line = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise ModelError(f"{INCEPTION}: its weights cannot be had ({line}); run once online") from error


def _hash_parameters(model: torch.nn.Module) -> str:
    """sha256 over the names and bytes of everything the model holds, in the order of the names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()
