"""Real model classes with random weights, small enough for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
    BlipImageProcessor,
    BlipProcessor,
)

WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] [DEC] [ENC] yes no whether the people are holding objects ? what object is held "
    "please describe . bottle phone book ball none person a in hand one two".split()
)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make_images(count: int, size: tuple[int, int] = (64, 64), seed: int = 0) -> list[Image.Image]:
    """Noise over a colour each, so that every image is another."""
    generator = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        colour = generator.integers(0, 256, 3)
        noise = generator.integers(-60, 60, (size[1], size[0], 3))
        images.append(Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)))
    return images


def blip_config() -> BlipConfig:
    text = {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "encoder_hidden_size": 32,
        "intermediate_size": 48,
        "projection_dim": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 24,
        "bos_token_id": WORDS.index("[DEC]"),
        "eos_token_id": WORDS.index("[SEP]"),
        "sep_token_id": WORDS.index("[SEP]"),
        "pad_token_id": 0,
        "initializer_range": 0.5,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "initializer_range": 0.3,
    }
    return BlipConfig(text_config=text, vision_config=vision, projection_dim=16, initializer_range=0.5)


def save_blip(folder: Path, model_class: type, seed: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), model_max_length=24)
    processor = BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer)
    torch.manual_seed(seed)
    model = model_class(blip_config()).eval()
    # Random position tables drown small images; what is left then differs from image to image.
    model.vision_model.embeddings.position_embedding.data.mul_(0.2)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def blip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_blip(tmp_path_factory.mktemp("blip"), BlipForQuestionAnswering)


@pytest.fixture(scope="session")
def caption_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_blip(tmp_path_factory.mktemp("caption"), BlipForConditionalGeneration)
