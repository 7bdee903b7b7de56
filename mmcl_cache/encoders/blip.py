"""BLIP visual question answering: an image is encoded once and asked any number of questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BlipForQuestionAnswering

from mmcl_cache.encoders.answers import Answers, collect_answers, make_rows, text_columns
from mmcl_cache.encoders.loading import (
    describe_libraries,
    hash_model,
    load_config,
    load_image_processor,
    load_tokenizer,
    load_weights,
)
from mmcl_cache.encoders.preparation import Preparation, plan_preparation
from mmcl_cache.encoders.questions import check_questions, find_choice_tokens
from mmcl_cache.errors import ModelError

MAX_TOKENS = 10


class BlipEncoder:
    """Asks a ``BlipForQuestionAnswering`` the same questions of every image.

    Images are batched with one question at a time, so nothing is ever padded: ``generate`` of transformers
    attends to the padding of a question. Answers are greedy and equal ``generate``'s token for token.

    Args:
        folder: the model's files.
        questions: Q ≥ 1 texts.
        choices: A answers whose probabilities are wanted; each must begin with a token of its own.
        device, dtype: where and in what the model runs.
        image_size: side of the square the image is resized to, pixels; None: the processor's own. Another size
            than the model was trained with interpolates its position encoding.
        enc_token: replace the first token of a question by [ENC], as the publication of BLIP does and
            transformers does not (transformers#22732).
        max_tokens: longest answer, its end included; None: 10.
        compile_vision: torch.compile the vision tower (one shape; worth it for large builds on a GPU).

    Raises:
        ModelError: the folder holds another model, or a question or choice it cannot take.
    """

    def __init__(
        self,
        folder: Path,
        questions: Sequence[str],
        *,
        choices: Sequence[str] = (),
        device: torch.device,
        dtype: torch.dtype,
        image_size: int | None = None,
        enc_token: bool = False,
        max_tokens: int | None = None,
        compile_vision: bool = False,
    ) -> None:
        config = load_config(folder)
        check_blip(folder, config)
        self._tokenizer = load_tokenizer(folder)
        self._processor = load_image_processor(folder)
        self._questions = check_questions(questions)
        self._choices = find_choice_tokens(self._tokenizer, choices)
        self._max_tokens = MAX_TOKENS if max_tokens is None else max_tokens
        if self._max_tokens < 2:
            raise ModelError(
                f"an answer needs room for a word and its end: at least 2 tokens, got {self._max_tokens}"
            )
        text = config.text_config
        self._begin, self._end, self._pad = text.bos_token_id, text.sep_token_id, text.pad_token_id
        self._question_ids = [self._encode_question(q, text, enc_token) for q in self._questions]
        size = _find_size(self._processor, config) if image_size is None else (image_size, image_size)
        trained, patch = config.vision_config.image_size, config.vision_config.patch_size
        if min(size) < patch or max(size) > 4096:
            raise ModelError(
                f"image size {size[0]}×{size[1]}: must lie between the model's patch ({patch}) and 4096"
            )
        self._processor.size = {"height": size[0], "width": size[1]}
        self._interpolate = size != (trained, trained)
        self._device = device
        self.preparation: Preparation = plan_preparation(self._processor, device=device, dtype=dtype)
        self._model = load_weights(BlipForQuestionAnswering, folder, dtype, device)
        self._vision: Any = self._model.vision_model
        if compile_vision:
            self._vision = torch.compile(self._model.vision_model, dynamic=False)
        digests = hash_model(folder)
        self.settings: dict[str, Any] = {
            "encoder": "blip-vqa",
            "weights_sha256": digests["weights"],
            "files_sha256": digests["files"],
            "transformers": describe_libraries(),
            "dtype": str(dtype).removeprefix("torch."),
            "image_size": list(size),
            "image_processor": type(self._processor).__name__,
            "questions": list(self._questions),
            "choices": list(choices),
            "enc_token": enc_token,
            "max_tokens": self._max_tokens,
            "compiled": compile_vision,
        }
        self.columns = text_columns(
            len(self._questions), self._max_tokens + 1, len(choices), text.hidden_size
        )
        self.info: dict[str, Any] = {
            "device": str(device),
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "pad_token_id": self._pad,
        }

    def prepare(self, images: Sequence[Image.Image]) -> Tensor:
        """The host's part of N images, to be made in any thread."""
        return self.preparation.load(images)

    def encode(self, images: Sequence[Image.Image]) -> list[dict[str, np.ndarray | str]]:
        """One dict of the ``text`` columns an image."""
        return self.encode_prepared(self.prepare(images))

    @torch.inference_mode()
    def encode_prepared(self, loaded: Tensor) -> list[dict[str, np.ndarray | str]]:
        """One dict of the ``text`` columns an image of what ``prepare`` gave."""
        pixels = self.preparation.finish(loaded)
        seen = self._vision(pixel_values=pixels, interpolate_pos_encoding=self._interpolate).last_hidden_state
        return make_rows([self._answer(seen, ids) for ids in self._question_ids])

    def _answer(self, seen: Tensor, question: Tensor) -> Answers:
        """Greedy answers to one question about N encoded images, seen (N, P, D)."""
        num_images = seen.shape[0]
        ids = question.to(self._device).expand(num_images, -1)
        asked = self._model.text_encoder(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=self._device),
        ).last_hidden_state
        attended = torch.ones(asked.shape[:2], dtype=torch.long, device=self._device)
        decoder = self._model.text_decoder
        tokens = torch.full((num_images, 1), self._begin, dtype=torch.long, device=self._device)
        cache = None
        given: list[Tensor] = []
        logits: list[Tensor] = []
        hidden: list[Tensor] = []
        ended = torch.zeros(num_images, dtype=torch.bool, device=self._device)
        for _ in range(self._max_tokens):
            mask = torch.ones(num_images, len(given) + 1, dtype=torch.long, device=self._device)
            output = decoder.bert(
                input_ids=tokens,
                attention_mask=mask,
                encoder_hidden_states=asked,
                encoder_attention_mask=attended,
                past_key_values=cache,
                use_cache=True,
                is_decoder=True,
            )
            cache = output.past_key_values
            hidden.append(output.last_hidden_state[:, -1])
            logits.append(decoder.cls(hidden[-1]))
            given.append(logits[-1].argmax(-1))
            ended |= given[-1] == self._end
            tokens = given[-1][:, None]
            if bool(ended.all()):
                break
        return collect_answers(
            self._begin,
            given,
            logits,
            hidden,
            ends=(self._end,),
            pad=self._pad,
            length=self._max_tokens + 1,
            choices=self._choices,
            tokenizer=self._tokenizer,
        )

    def _encode_question(self, question: str, text: Any, enc_token: bool) -> Tensor:
        """(1, L) int64 ids, [CLS] … [SEP].

        Raises:
            ModelError: longer than the model takes, nothing but unknown words, or no [ENC] token.
        """
        ids = self._tokenizer(question, add_special_tokens=True, truncation=False)["input_ids"]
        limit = min(text.max_position_embeddings, self._tokenizer.model_max_length)
        if len(ids) > limit:
            raise ModelError(f"question of {len(ids)} tokens, the model takes {limit}: {question[:60]!r} …")
        if len(ids) <= 2 or max(ids) >= text.vocab_size:
            raise ModelError(f"the model's vocabulary cannot express the question {question[:60]!r}")
        if enc_token:
            ids = [self._find_enc_token(text), *ids[1:]]
        return torch.tensor([ids], dtype=torch.long)

    def _find_enc_token(self, text: Any) -> int:
        """The tokenizer's [ENC]; where it was not saved with one, the id after [DEC], as the publication adds them."""
        known = self._tokenizer.get_vocab().get("[ENC]")
        found = text.bos_token_id + 1 if known is None else known
        if found >= text.vocab_size:
            raise ModelError("--enc-token: this model has no [ENC] token; leave the option out")
        return found


def check_blip(folder: Path, config: Any) -> None:
    """Raises ModelError where a BLIP folder was trained for something else than answering questions."""
    heads = list(config.architectures or [])
    if config.model_type != "blip" or (heads and "BlipForQuestionAnswering" not in heads):
        raise ModelError(
            f"{folder}: is {', '.join(heads) or config.model_type}, which cannot answer visual questions; "
            "use a BlipForQuestionAnswering such as Salesforce/blip-vqa-base"
        )


def _find_size(processor: Any, config: Any) -> tuple[int, int]:
    size = processor.size
    height, width = size.get("height"), size.get("width")
    side = config.vision_config.image_size
    return (int(height), int(width)) if height and width else (side, side)
