"""Small models with random weights, and builds of a few generated clips by the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer  # noqa: F401  (transformers wants it before its own tokenizers)
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForQuestionAnswering,
    BlipImageProcessor,
    BlipProcessor,
    ResNetConfig,
    ResNetForImageClassification,
    ViTImageProcessor,
)

TEXT = """[PAD] [UNK] [CLS] [SEP] [MASK] [DEC] [ENC] yes no whether the people are holding objects ?
describe please . person tool"""
WORDS = TEXT.split()
SIDE = {"height": 32, "width": 32}


def save_models(root: Path) -> tuple[Path, Path]:
    """A BLIP and a ResNet of a few thousand parameters; their folders."""
    vqa, cnn = root / "vqa", root / "cnn"
    vqa.mkdir(parents=True)
    (vqa / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizer(str(vqa / "vocab.txt"), model_max_length=24)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "initializer_range": 0.4,
    }
    text = {
        **sizes,
        "vocab_size": len(WORDS),
        "encoder_hidden_size": 16,
        "projection_dim": 8,
        "max_position_embeddings": 24,
        "bos_token_id": WORDS.index("[DEC]"),
        "eos_token_id": WORDS.index("[SEP]"),
        "sep_token_id": WORDS.index("[SEP]"),
        "pad_token_id": 0,
    }
    torch.manual_seed(5)
    config = BlipConfig(text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 8})
    BlipForQuestionAnswering(config).eval().save_pretrained(vqa)
    BlipProcessor(BlipImageProcessor(size=SIDE), tokenizer).save_pretrained(vqa)
    shape = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=7
    )
    ResNetForImageClassification(shape).eval().save_pretrained(cnn)
    ViTImageProcessor(size=SIDE).save_pretrained(cnn)
    return vqa, cnn


@dataclass(frozen=True)
class Builder:
    """The same build again and again, into other folders and by other engines."""

    source: Path
    vqa: Path
    cnn: Path

    def options(self, cache: Path, *more: str) -> list[str]:
        places = {"--source": self.source, "--cache": cache, "--vqa": self.vqa, "--cnn": self.cnn}
        words = [word for name, place in places.items() for word in (name, str(place))]
        return ["build", "--dataset", "demo", *words, "--shard-size", "3", "--batch-size", "2", *more]

    def start(
        self, cache: Path, *more: str, launcher: Sequence[str] = (sys.executable,)
    ) -> subprocess.Popen[str]:
        command = [*launcher, "-m", "mmcl_cache.cli", *self.options(cache, *more)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def run(self, cache: Path, *more: str, launcher: Sequence[str] = (sys.executable,)) -> str:
        process = self.start(cache, *more, launcher=launcher)
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
        return output


@pytest.fixture(scope="session")
def builder(generated_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    vqa, cnn = save_models(tmp_path_factory.mktemp("models"))
    return Builder(generated_clips, vqa, cnn)


def shard_files(cache: Path) -> dict[str, bytes]:
    """Every shard that is complete: its path in the cache, its bytes."""
    markers = sorted(cache.glob("*/default/0*.json"))
    return {str(m.relative_to(cache)): m.with_suffix(".h5").read_bytes() for m in markers}


@pytest.fixture(scope="session")
def files() -> Callable[[Path], dict[str, bytes]]:
    return shard_files


@pytest.fixture(scope="session")
def made(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache as one process makes it; not to be changed."""
    from click.testing import CliRunner

    from mmcl_cache.cli import main

    cache = tmp_path_factory.mktemp("made") / "cache"
    done = CliRunner().invoke(main, builder.options(cache, "--workers", "0", "--quiet"))
    assert done.exit_code == 0, done.output
    return cache
