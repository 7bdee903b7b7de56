"""Real model classes with random weights, small enough for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import (
    AutoProcessor,
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    ConvNextConfig,
    ConvNextForImageClassification,
    ConvNextImageProcessor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetForImageClassification,
)

TEXT = """[PAD] [UNK] [CLS] [SEP] [MASK] [DEC] [ENC] yes no whether the people are holding objects ?
what object is held please describe . bottle phone book ball none person a in hand one two"""
WORDS = TEXT.split()


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


def pixels_of(encoder, images: list[Image.Image]) -> torch.Tensor:
    """What the model of an encoder is given."""
    return encoder.preparation.finish(encoder.prepare(images))


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


CHAT_WORDS = [*WORDS, "<image>", "<s>", "</s>", "<pad>", "USER", "ASSISTANT", ":"]
CHAT_TEMPLATE = (
    "{% for m in messages %}USER : {% for c in m['content'] %}{% if c['type'] == 'image' %}<image> "
    "{% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT :{% endif %}"
)


def save_llava(folder: Path, template: str | None = CHAT_TEMPLATE, seed: int = 0) -> Path:
    """A LLaVA of a few thousand parameters whose answers end after different lengths."""
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(CHAT_WORDS))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace()])
    backend.normalizer = normalizers.Lowercase()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="[UNK]",
        additional_special_tokens=["<image>", "USER", "ASSISTANT"],
        padding_side="right",
    )
    images = CLIPImageProcessor(size={"height": 16, "width": 16}, crop_size={"height": 16, "width": 16})
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=4,
        initializer_range=0.5,
    )
    text = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=96,
        bos_token_id=vocabulary["<s>"],
        eos_token_id=vocabulary["</s>"],
        pad_token_id=vocabulary["<pad>"],
        initializer_range=0.4,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=vocabulary["<image>"],
        vision_feature_layer=-1,
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config).eval()
    for linear in (model.model.multi_modal_projector.linear_1, model.model.multi_modal_projector.linear_2):
        linear.weight.data.normal_(0, 0.4)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_llava_next(folder: Path) -> Path:
    """A LLaVA-NeXT of the same parts: an image becomes several tiles, how many depends on its shape."""
    save_llava(folder)
    plain, parts = AutoProcessor.from_pretrained(folder), LlavaConfig.from_pretrained(folder)
    grid = [[16, 32], [32, 16], [32, 32]]
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, image_grid_pinpoints=grid
    )
    parts.text_config.max_position_embeddings = 512
    config = LlavaNextConfig(
        vision_config=parts.vision_config,
        text_config=parts.text_config,
        image_token_index=parts.image_token_index,
        vision_feature_layer=-1,
        image_grid_pinpoints=grid,
    )
    torch.manual_seed(1)
    LlavaNextForConditionalGeneration(config).eval().save_pretrained(folder)
    LlavaNextProcessor(
        images,
        plain.tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llava(tmp_path_factory.mktemp("llava"))


def save_cnn(folder: Path, kind: str = "resnet") -> Path:
    """A small image classifier with the processor its family has."""
    torch.manual_seed(0)
    if kind == "resnet":
        config = ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=7
        )
        ResNetForImageClassification(config).eval().save_pretrained(folder)
        ConvNextImageProcessor(size={"shortest_edge": 32}).save_pretrained(folder)
    else:
        config = ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], num_labels=5)
        ConvNextForImageClassification(config).eval().save_pretrained(folder)
        ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(folder)
    return folder
