"""People in frames, found by an object detector: for videos whose skeletons say nothing of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForObjectDetection

from mmcl_cache.encoders.loading import (
    choose_device,
    describe_libraries,
    find_model,
    hash_model,
    load_config,
    load_image_processor,
    load_weights,
)
from mmcl_cache.errors import ModelError
from mmcl_cache.video.crop import Box

PERSON = "person"


class PersonDetector:
    """Any ``AutoModelForObjectDetection`` that knows people (DETR, YOLOS, RT-DETR …).

    It travels to decode processes without its weights, which every process loads when it first needs them.

    Args:
        model: a hub id or a local folder.
        device: where each process runs it.
        threshold: score from which a detection counts.

    Raises:
        ModelError: the model cannot be had, is no detector, or has no class called "person".
    """

    def __init__(self, model: str, device: str = "cpu", threshold: float = 0.5) -> None:
        self._folder: Path = find_model(model, "detector")
        config = load_config(self._folder)
        heads = list(config.architectures or [])
        if heads and not any(head.endswith("ForObjectDetection") for head in heads):
            raise ModelError(
                f"{self._folder}: is {', '.join(heads)}, which finds no objects; use one such as YOLOS"
            )
        self._labels = [n for n, name in (config.id2label or {}).items() if str(name).lower() == PERSON]
        if not self._labels:
            raise ModelError(f"{self._folder}: has no class {PERSON!r}; use a detector trained on COCO")
        self._device, self._threshold = device, threshold
        self._loaded: tuple[Any, Any] | None = None
        digests = hash_model(self._folder)
        self.settings: dict[str, Any] = {
            "weights_sha256": digests["weights"],
            "files_sha256": digests["files"],
            "transformers": describe_libraries(),
            "threshold": threshold,
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": None}

    @torch.inference_mode()
    def find(self, images: Sequence[np.ndarray]) -> list[Box | None]:
        """The box around all people of each image, (H, W, 3) uint8; None where nobody is found."""
        if self._loaded is None:
            device = choose_device(self._device)
            model = load_weights(AutoModelForObjectDetection, self._folder, torch.float32, device)
            self._loaded = load_image_processor(self._folder), model
        processor, model = self._loaded
        inputs = processor(images=[Image.fromarray(image) for image in images], return_tensors="pt").to(
            model.device
        )
        sizes = torch.tensor([image.shape[:2] for image in images])
        found = processor.post_process_object_detection(
            model(**inputs), threshold=self._threshold, target_sizes=sizes
        )
        return [
            _union(
                each["boxes"].cpu().numpy(), np.isin(each["labels"].cpu().numpy(), self._labels), image.shape
            )
            for each, image in zip(found, images, strict=True)
        ]


def _union(boxes: np.ndarray, is_person: np.ndarray, shape: tuple[int, ...]) -> Box | None:
    people = boxes[is_person]
    if not len(people):
        return None
    height, width = shape[:2]
    left, top = np.floor(np.clip(people[:, :2].min(axis=0), 0, (width - 1, height - 1))).astype(int).tolist()
    right, bottom = (
        np.ceil(np.clip(people[:, 2:].max(axis=0), (left + 1, top + 1), (width, height))).astype(int).tolist()
    )
    return Box(left, top, right, bottom)
