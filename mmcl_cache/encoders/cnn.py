"""Image classifiers of transformers: logits and pooled features of a strip."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, AutoModelForImageClassification

from mmcl_cache.encoders.loading import (
    describe_libraries,
    hash_model,
    load_config,
    load_image_processor,
    load_weights,
)
from mmcl_cache.encoders.preparation import Preparation, plan_preparation
from mmcl_cache.errors import ModelError
from mmcl_cache.store.schema import Column

# Where the classifier sits, by its attribute: what goes into it is the pooled feature.
_HEADS = ("classifier", "fc", "head", "head_fc")


def rgb_columns(labels: int, width: int) -> tuple[Column, ...]:
    """Columns of the ``rgb`` field."""
    return (
        Column("logits", "float16", (labels,), doc="of the CNN's own classes"),
        Column("pooled", "float16", (width,), doc="what its classifier reads: the map averaged over space"),
    )


def make_image_rows(logits: Tensor, pooled: Tensor) -> list[dict[str, np.ndarray | str]]:
    """One dict of the ``rgb`` columns an image."""
    scores, features = logits.float().half().cpu().numpy(), pooled.float().half().cpu().numpy()
    return [{"logits": scores[n], "pooled": features[n]} for n in range(len(scores))]


class CnnEncoder:
    """Any ``AutoModelForImageClassification``: ResNet, ConvNeXt, EfficientNet, RegNet, ViT …

    Args:
        folder: the model's files.
        device, dtype: where and in what the model runs.
        image_size: side of the square the strip is resized to, pixels, cutting nothing off; None: the processor's
            own preprocessing, a centre crop included where it has one.

    Raises:
        ModelError: the folder holds no image classifier.
    """

    def __init__(
        self, folder: Path, *, device: torch.device, dtype: torch.dtype, image_size: int | None = None
    ) -> None:
        config = load_config(folder)
        check_classifier(folder, config)
        processor = load_image_processor(folder)
        overrides: dict[str, Any] = {}
        if image_size is not None:
            if not 8 <= image_size <= 4096:
                raise ModelError(f"image size {image_size}: must lie between 8 and 4096")
            # ConvNeXt's processor crops below 384 px unless the share to keep is 1.
            overrides = {"size": {"height": image_size, "width": image_size}, "do_center_crop": False}
            if hasattr(processor, "crop_pct"):
                overrides = {"size": {"shortest_edge": image_size}, "crop_pct": 1.0}
        self.preparation: Preparation = plan_preparation(
            processor, device=device, dtype=dtype, overrides=overrides
        )
        self._model = load_weights(AutoModelForImageClassification, folder, dtype, device)
        self._here = threading.local()  # several threads may be in the model at once
        self._find_head().register_forward_pre_hook(self._keep_input)
        blank = Image.new("RGB", (480, 480))
        loaded = self.prepare([blank])
        logits, pooled = self._run(loaded)
        digests = hash_model(folder)
        self.settings: dict[str, Any] = {
            "encoder": "image-classifier",
            "weights_sha256": digests["weights"],
            "files_sha256": digests["files"],
            "transformers": describe_libraries(),
            "dtype": str(dtype).removeprefix("torch."),
            "image_size": list(self.preparation.finish(loaded).shape[-2:]),
            "image_processor": type(processor).__name__,
        }
        self.columns = rgb_columns(logits.shape[1], pooled.shape[1])
        self.info: dict[str, Any] = {
            "device": str(device),
            "parameters": sum(p.numel() for p in self._model.parameters()),
        }

    def prepare(self, images: Sequence[Image.Image]) -> Tensor:
        """The host's part of N images, to be made in any thread."""
        return self.preparation.load(images)

    def encode(self, images: Sequence[Image.Image]) -> list[dict[str, np.ndarray | str]]:
        """One dict of the ``rgb`` columns an image."""
        return self.encode_prepared(self.prepare(images))

    def encode_prepared(self, loaded: Tensor) -> list[dict[str, np.ndarray | str]]:
        """One dict of the ``rgb`` columns an image of what ``prepare`` gave."""
        return make_image_rows(*self._run(loaded))

    @torch.inference_mode()
    def _run(self, loaded: Tensor) -> tuple[Tensor, Tensor]:
        logits = self._model(pixel_values=self.preparation.finish(loaded)).logits
        pooled = self._here.__dict__.pop("head_input")
        return logits, pooled.flatten(2).mean(2) if pooled.ndim > 2 else pooled

    def _find_head(self) -> torch.nn.Module:
        """The last linear layer of the model's classifier."""
        for name in _HEADS:
            part = getattr(self._model, name, None)
            if isinstance(part, torch.nn.Module):
                linear = [m for m in part.modules() if isinstance(m, torch.nn.Linear)]
                if linear:
                    return linear[-1]
        raise ModelError(
            f"{type(self._model).__name__} has no linear classifier whose input could be the feature"
        )

    def _keep_input(self, module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._here.head_input = inputs[0]


def check_classifier(folder: Path, config: Any) -> None:
    """Raises ModelError where a folder was trained for something else than classifying images."""
    heads = list(config.architectures or [])
    fits = type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    if not fits or (heads and not any("ImageClassification" in head for head in heads)):
        raise ModelError(
            f"{folder}: is {', '.join(heads) or config.model_type}, not an image classifier; "
            "use one such as microsoft/resnet-50 or facebook/convnext-tiny-224"
        )
