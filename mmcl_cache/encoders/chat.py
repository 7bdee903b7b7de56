"""Every image-text-to-text model of transformers as a visual question answerer: LLaVA, Qwen-VL, InternVL, SmolVLM …"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2.exceptions import TemplateError
from PIL import Image
from torch import Tensor
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoModelForImageTextToText, GenerationConfig

from mmcl_cache.encoders.answers import Answers, collect_answers, make_rows, text_columns
from mmcl_cache.encoders.loading import (
    describe_libraries,
    hash_model,
    load_config,
    load_processor,
    load_weights,
)
from mmcl_cache.encoders.questions import check_questions, find_choice_tokens
from mmcl_cache.errors import ModelError

MAX_TOKENS = 32
# For processors that come without a chat template, by model type; {image} is the processor's image token.
FALLBACK_PROMPTS: dict[str, str] = {
    "blip-2": "{image}Question: {question} Answer:",
    "instructblip": "{image}{question}",
    "paligemma": "{image}{question}\n",
}
FALLBACK_PROMPT = "USER: {image}\n{question} ASSISTANT:"
_PIXEL_KEYS = ("pixel_values", "pixel_values_images", "image_patches")
Inputs = dict[str, Tensor]


class ChatEncoder:
    """Asks an image-text-to-text model the same questions of every image, greedily.

    The prompt of a question depends on the size of an image alone, so it is made once a size; where images of
    one batch differ, prompts are padded on the left. Where the model takes encoded images (mm_encoder_outputs),
    the vision tower runs once for all questions.

    Args: as BlipEncoder. enc_token is BLIP's; max_tokens None: 32.

    Raises:
        ModelError: not an image-text-to-text model, a processor that needs what is not installed, or a question
            or choice it cannot take.
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
    ) -> None:
        config = load_config(folder)
        check_chat(folder, config)
        if enc_token:
            raise ModelError(f"--enc-token: is for BLIP; {config.model_type} has no such token")
        if image_size is not None and not 8 <= image_size <= 4096:
            raise ModelError(f"image size {image_size}: must lie between 8 and 4096")
        self._max_tokens = MAX_TOKENS if max_tokens is None else max_tokens
        if self._max_tokens < 2:
            raise ModelError(
                f"an answer needs room for a word and its end: at least 2 tokens, got {self._max_tokens}"
            )
        self._processor = load_processor(folder)
        self._tokenizer = self._processor.tokenizer
        self._image_size = image_size
        self._questions = check_questions(questions)
        self._choices = find_choice_tokens(self._tokenizer, choices)
        self._device, self._dtype = device, dtype
        self._model = load_weights(AutoModelForImageTextToText, folder, dtype, device)
        self._head = self._model.get_output_embeddings()
        if self._head is None:
            raise ModelError(
                f"{folder}: {type(self._model).__name__} has no output layer to take hidden states from"
            )
        self._hidden: list[Tensor] = []
        self._head.register_forward_pre_hook(self._keep_hidden)
        self._shares_vision = "mm_encoder_outputs" in inspect.signature(self._model.forward).parameters
        self._generation = self._plan_generation()
        self._prompts = [_write_prompt(self._processor, config.model_type, q) for q in self._questions]
        self._encoded: dict[tuple[int, tuple[int, int]], Inputs] = {}
        text = config.get_text_config()
        self._limit = int(getattr(text, "max_position_embeddings", None) or 1 << 30)
        self._encode_prompts((480, 480) if image_size is None else (image_size, image_size))
        digests = hash_model(folder)
        self.settings: dict[str, Any] = {
            "encoder": "chat",
            "weights_sha256": digests["weights"],
            "files_sha256": digests["files"],
            "transformers": describe_libraries(),
            "dtype": str(dtype).removeprefix("torch."),
            "image_size": image_size,
            "image_processor": type(self._processor.image_processor).__name__,
            "prompts": self._prompts,
            "questions": list(self._questions),
            "choices": list(choices),
            "max_tokens": self._max_tokens,
        }
        width = int(getattr(self._head, "in_features", 0) or text.hidden_size)
        self.columns = text_columns(len(self._questions), self._max_tokens + 1, len(choices), width)
        self.info: dict[str, Any] = {
            "device": str(device),
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "pad_token_id": self._pad,
            "shares_vision": self._shares_vision,
        }

    @torch.inference_mode()
    def encode(self, images: Sequence[Image.Image]) -> list[dict[str, np.ndarray | str]]:
        """One dict of the ``text`` columns an image."""
        shown = [self._resize(image) for image in images]
        prompts = [self._encode_prompts(image.size) for image in shown]
        pixels = self._encode_pixels(shown)
        vision = self._see(pixels)
        answers = []
        for number in range(len(self._questions)):
            text = _pad_left([prompt[number] for prompt in prompts], self._pad)
            answers.append(self._answer({k: v.to(self._device) for k, v in text.items()}, pixels, vision))
        return make_rows(answers)

    def _answer(self, text: Inputs, pixels: Inputs, vision: Any) -> Answers:
        """Greedy answers to one question for N images."""
        if vision is None:
            inputs: dict[str, Any] = {**text, **pixels}
        else:
            # generate adds to the mapping it is given; the encoded images themselves are shared.
            rest = {k: v for k, v in pixels.items() if k not in _PIXEL_KEYS}
            inputs = {**text, **rest, "mm_encoder_outputs": {"image": vision}}
        self._hidden.clear()
        output = self._model.generate(**inputs, generation_config=self._generation)
        steps = len(output.logits)
        given = output.sequences[:, -steps:]
        hidden = self._hidden[-steps:]
        self._hidden.clear()
        return collect_answers(
            self._begin,
            [given[:, step] for step in range(steps)],
            list(output.logits),
            hidden,
            ends=self._ends,
            pad=self._pad,
            length=self._max_tokens + 1,
            choices=self._choices,
            tokenizer=self._tokenizer,
        )

    def _see(self, pixels: Inputs) -> Any:
        """The images through the vision tower, to be shared by several questions; None where it cannot be shared."""
        encoder = getattr(self._model.base_model, "get_image_features", None)
        if not self._shares_vision or encoder is None or len(self._questions) < 2:
            return None
        taken = inspect.signature(encoder).parameters
        return encoder(**{k: v for k, v in pixels.items() if k in taken}, return_dict=True)

    def _encode_pixels(self, images: Sequence[Image.Image]) -> Inputs:
        """What the processor makes of the images, without the text.

        One image at a time: processors disagree on how a batch of (image, text) pairs is written, and all of
        them stack images along the first axis.
        """
        parts: list[Inputs] = []
        for image in images:
            made = self._processor(images=[image], text=[self._prompts[0]], return_tensors="pt")
            shape = made["input_ids"].shape
            parts.append({k: v for k, v in made.items() if isinstance(v, Tensor) and v.shape != shape})
        joined = {key: _stack([part[key] for part in parts]) for key in parts[0]}
        return {
            k: v.to(self._device, self._dtype) if v.is_floating_point() else v.to(self._device)
            for k, v in joined.items()
        }

    def _encode_prompts(self, size: tuple[int, int]) -> list[Inputs]:
        """The text inputs (L,) of every question for images of one size.

        Raises:
            ModelError: longer than the model takes.
        """
        for number, prompt in enumerate(self._prompts):
            if (number, size) in self._encoded:
                continue
            made = self._processor(images=[Image.new("RGB", size)], text=[prompt], return_tensors="pt")
            shape = made["input_ids"].shape
            if shape[1] + self._max_tokens > self._limit:
                raise ModelError(
                    f"question of {shape[1]} tokens with its image and {self._max_tokens} for the answer, the model "
                    f"takes {self._limit}: {self._questions[number][:60]!r} …"
                )
            text = {k: v[0] for k, v in made.items() if isinstance(v, Tensor) and v.shape == shape}
            text.setdefault("attention_mask", torch.ones(shape[1], dtype=torch.long))
            self._encoded[number, size] = text
        return [self._encoded[number, size] for number in range(len(self._prompts))]

    def _resize(self, image: Image.Image) -> Image.Image:
        image = image.convert("RGB")
        if self._image_size is None or image.size == (self._image_size, self._image_size):
            return image
        return image.resize((self._image_size, self._image_size), Image.Resampling.BICUBIC)

    def _plan_generation(self) -> GenerationConfig:
        """Greedy, with the model's own ends; settings that only sampling reads are cleared."""
        own = self._model.generation_config
        tokenizer, text = self._tokenizer, self._model.config.get_text_config()
        ends = own.eos_token_id if own.eos_token_id is not None else text.eos_token_id
        ends = tokenizer.eos_token_id if ends is None else ends
        if ends is None:
            raise ModelError("the model says no end token; its generation_config.json needs an eos_token_id")
        self._ends = tuple(ends) if isinstance(ends, (list, tuple)) else (int(ends),)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else own.pad_token_id
        self._pad = int(self._ends[0] if pad is None else pad)
        begin = own.bos_token_id if own.bos_token_id is not None else tokenizer.bos_token_id
        self._begin = int(self._pad if begin is None else begin)
        plan = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=self._max_tokens,
            eos_token_id=list(self._ends),
            pad_token_id=self._pad,
            bos_token_id=self._begin,
            repetition_penalty=own.repetition_penalty,
            no_repeat_ngram_size=own.no_repeat_ngram_size,
            suppress_tokens=own.suppress_tokens,
            output_logits=True,
            return_dict_in_generate=True,
        )
        # generate fills what a configuration leaves open from the model's own, sampling temperatures among it.
        self._model.generation_config = plan
        return plan

    def _keep_hidden(self, module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._hidden.append(inputs[0][:, -1])


def check_chat(folder: Path, config: Any) -> None:
    """Raises ModelError where transformers cannot use a folder for images and text together."""
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        heads = ", ".join(config.architectures or []) or config.model_type
        raise ModelError(
            f"{folder}: is {heads}, which answers no visual questions; use a BlipForQuestionAnswering "
            "or an image-text-to-text model (LLaVA, Qwen-VL, InternVL, SmolVLM …)"
        )


def _write_prompt(processor: Any, model_type: str, question: str) -> str:
    """The question in the model's own chat form, an image before it."""
    if getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None):
        content = [{"type": "image"}, {"type": "text", "text": question}]
        try:
            template = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
            return processor.apply_chat_template(
                [{"role": "user", "content": content}],
                chat_template=template,
                add_generation_prompt=True,
                tokenize=False,
            )
        except (TemplateError, TypeError, ValueError) as error:
            line = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
            raise ModelError(
                f"{type(processor).__name__}: its chat template fails on an image question ({line})"
            ) from error
    image = (
        getattr(processor, "image_token", None)
        or getattr(processor.tokenizer, "image_token", None)
        or "<image>"
    )
    return FALLBACK_PROMPTS.get(model_type, FALLBACK_PROMPT).format(image=image, question=question)


def _pad_left(rows: Sequence[Inputs], pad: int) -> Inputs:
    """(N, L) of N prompts; the ids of shorter ones are padded on the left, everything else there is 0."""
    length = max(len(row["input_ids"]) for row in rows)
    joined: Inputs = {}
    for key in rows[0]:
        filled = rows[0][key].new_full((len(rows), length), pad if key == "input_ids" else 0)
        for n, row in enumerate(rows):
            filled[n, length - len(row[key]) :] = row[key]
        joined[key] = filled
    return joined


def _stack(parts: Sequence[Tensor]) -> Tensor:
    """Parts along the first axis; where other axes differ (more tiles for one image) zeros fill the smaller."""
    if len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(list(parts))
    shape = [max(part.shape[axis] for part in parts) for axis in range(1, parts[0].ndim)]
    filled = [part.new_zeros((part.shape[0], *shape)) for part in parts]
    for target, part in zip(filled, parts, strict=True):
        target[tuple(slice(0, n) for n in part.shape)] = part
    return torch.cat(filled)
