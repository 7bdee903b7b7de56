"""An image classifier with a new classification layer, to be trained and saved as a folder that `--cnn` takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModelForImageClassification

from mmcl_cache.encoders.cnn import check_classifier
from mmcl_cache.encoders.inception import INCEPTION
from mmcl_cache.encoders.loading import find_model, hash_model, load_config, load_image_processor
from mmcl_cache.errors import ModelError


class ImageClassifier:
    """A classifier in training mode, its processor, and where it came from.

    Args:
        model: of transformers.
        processor: makes its input.
        origin: hashes of the files it was made from.
        device: it runs on.
    """

    def __init__(self, model: Any, processor: Any, origin: dict[str, str], device: torch.device) -> None:
        self.origin = origin
        self._model, self._processor, self._device = model.to(device).train(), processor, device

    def parameters(self) -> Iterator[nn.Parameter]:
        return self._model.parameters()

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """(N, classes) logits, with gradients."""
        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        logits: Tensor = self._model(pixel_values=pixels.to(self._device)).logits
        return logits

    def save(self, folder: Path) -> None:
        """Write what `open_image_encoder(folder)` reads."""
        self._model.eval().save_pretrained(folder)
        self._processor.save_pretrained(folder)


def open_classifier(model: str, classes: Sequence[str], device: torch.device) -> ImageClassifier:
    """Open a classifier of transformers and give it these classes; its new layer comes from torch's generator.

    Raises:
        ModelError: it cannot be had, is no image classifier, or is one of another library.
    """
    if model == INCEPTION:
        raise ModelError(f"--cnn {INCEPTION}: fitting takes a classifier of transformers, such as a ResNet")
    folder = find_model(model, "cnn")
    check_classifier(folder, load_config(folder))
    names = dict(enumerate(classes))
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.disable_progress_bar()  # the command shows its own
    transformers.utils.logging.set_verbosity_error()  # that the last layer is new is meant
    try:
        opened = AutoModelForImageClassification.from_pretrained(
            folder,
            id2label=names,
            label2id={name: n for n, name in names.items()},
            num_labels=len(names),
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            trust_remote_code=False,
            local_files_only=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder}: cannot be loaded ({str(error).splitlines()[0][:200]})") from error
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
    return ImageClassifier(opened, load_image_processor(folder), hash_model(folder), device)
