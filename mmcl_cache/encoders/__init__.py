"""Models that look at strips. The only place that knows transformers."""

from __future__ import annotations

from collections.abc import Sequence

from mmcl_cache.encoders.batches import Batches, EncodedRow, Encoder, encode_in_batches
from mmcl_cache.encoders.blip import BlipEncoder
from mmcl_cache.encoders.chat import ChatEncoder
from mmcl_cache.encoders.cnn import CnnEncoder
from mmcl_cache.encoders.inception import INCEPTION, InceptionEncoder
from mmcl_cache.encoders.loading import choose_device, choose_dtype, find_model, load_config
from mmcl_cache.encoders.preparation import PreparingEncoder
from mmcl_cache.encoders.questions import (
    DEFAULT_CHOICES,
    DEFAULT_QUESTION,
    TEMPLATES,
    parse_question,
    write_question,
)

__all__ = [
    "DEFAULT_CHOICES",
    "DEFAULT_QUESTION",
    "TEMPLATES",
    "Batches",
    "EncodedRow",
    "Encoder",
    "ImageEncoder",
    "PreparingEncoder",
    "TextEncoder",
    "encode_in_batches",
    "open_image_encoder",
    "open_text_encoder",
    "parse_question",
    "write_question",
]

TextEncoder = Encoder
ImageEncoder = Encoder


def open_text_encoder(
    model: str,
    questions: Sequence[str],
    *,
    choices: Sequence[str] = DEFAULT_CHOICES,
    device: str = "auto",
    dtype: str = "auto",
    image_size: int | None = None,
    enc_token: bool = False,
    max_tokens: int | None = None,
    compile_vision: bool = False,
) -> TextEncoder:
    """Open a visual question model.

    ``settings`` of the encoder hold all that changes bytes and nothing of this machine; ``info`` holds the rest.

    Args:
        model: a hub id, a local folder, or "embedded".
        questions: Q ≥ 1 texts (``parse_question`` reads templates).
        choices: answers whose probabilities are wanted; may be empty.
        device: auto, cpu, cuda, cuda:N. dtype: auto, float32, bfloat16, float16.
        image_size: side in pixels; None: the model's own.
        enc_token, compile_vision: BLIP only; see BlipEncoder.
        max_tokens: longest answer; None: 10 for BLIP, 32 for chat models.

    Raises:
        ModelError: the model cannot be had, is of another kind, or cannot take a question.
    """
    folder = find_model(model, "vqa")
    place = choose_device(device)
    number = choose_dtype(dtype, place)
    encoder: TextEncoder
    if load_config(folder).model_type == "blip":
        encoder = BlipEncoder(
            folder,
            questions,
            choices=choices,
            device=place,
            dtype=number,
            image_size=image_size,
            enc_token=enc_token,
            max_tokens=max_tokens,
            compile_vision=compile_vision,
        )
    else:
        encoder = ChatEncoder(
            folder,
            questions,
            choices=choices,
            device=place,
            dtype=number,
            image_size=image_size,
            enc_token=enc_token,
            max_tokens=max_tokens,
        )
    encoder.info["model"] = model
    return encoder


def open_image_encoder(
    model: str, *, device: str = "auto", dtype: str = "auto", image_size: int | None = None
) -> ImageEncoder:
    """Open an image classifier: a hub id, a local folder, "embedded", or "inception_v3".

    Raises:
        ModelError: the model cannot be had, or is no image classifier.
    """
    place = choose_device(device)
    number = choose_dtype(dtype, place)
    encoder: ImageEncoder
    if model == INCEPTION:
        encoder = InceptionEncoder(device=place, dtype=number, image_size=image_size)
    else:
        encoder = CnnEncoder(find_model(model, "cnn"), device=place, dtype=number, image_size=image_size)
    encoder.info["model"] = model
    return encoder
