"""Every setting of a build. Those that change bytes are in frozen groups of their own, which become fingerprints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmcl_cache.datasets import ScanOptions
from mmcl_cache.errors import UserError

EMBEDDED = "embedded"
# The paper's question, worded as it prints it (FRM; "whether the {target} are {action}?").
DEFAULT_QUESTIONS = ("whether the people are holding objects?",)
DEFAULT_CHOICES = ("yes", "no")
SAMPLINGS = ("published", "centre")


@dataclass(frozen=True)
class StripSettings:
    """How K frames become one image. Every member changes bytes.

    Args:
        tiles: frames shown, left to right in time order.
        tile_width, tile_height: px; 5 tiles of 96 × 480 make the published 480 × 480 canvas.
        sampling: "published" (0, s, 2s … with s = frames // tiles) or "centre".
        crop: "person" (union box of the bodies, whole frame where there are none), "none", or "detector".
        crop_scope: "clip" (one box for all tiles) or "frame" (each tile its own).
        slack: share of the box that is added on each side.
        filter: of the resize, Pillow's name.
        quality: of the JPEG, 1 to 100.
    """

    tiles: int = 5
    tile_width: int = 96
    tile_height: int = 480
    sampling: str = "published"
    crop: str = "person"
    crop_scope: str = "clip"
    slack: float = 0.15
    filter: str = "bilinear"
    quality: int = 95

    def __post_init__(self) -> None:
        if self.tiles < 1:
            raise UserError(f"--tiles {self.tiles}: a strip has at least 1 tile")
        if self.sampling not in SAMPLINGS:
            raise UserError(f"--sampling {self.sampling}: unknown; known: {', '.join(SAMPLINGS)}")
        if not 0 <= self.slack <= 10:
            raise UserError(f"--slack {self.slack}: a share of the box, 0 to 10")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class BuildConfig:
    """One build.

    Args:
        dataset: a name of `DATASETS`.
        source: folder of its files.
        cache: folder to write.
        fields: which fields; None for all that the data set has something for.
        variants: field → variant name where it is not "default".
        scan: what to look for in the source.
        strip: how strips are made.
        detector: hub id or folder of an object detector, where `strip.crop` is "detector".
        vqa, cnn: a hub id, a local folder, or "embedded".
        questions, choices: asked of every strip; answers whose probability is stored.
        limit: only the first samples of the sorted ids; None for all.
        shard_size: rows a shard.
        batch_size: strips a model sees at once; composition is fixed by the row number.
        workers: decode processes; 0 decodes in this one; None for one a core.
        deadline: s a sample may take before its process is killed, tried once more, then recorded.
        decoder: "auto", "decord" or "pyav"; all give the same frames.
        device: "auto", "cpu", "cuda", "cuda:1" …; several with commas between: one model process each.
        dtype: of the models: "auto" (bfloat16 on a GPU, float32 else), "float32", "bfloat16", "float16".
        image_size: px the VQA model sees; None for the model's own.
        enc_token: begin questions to BLIP with [ENC].
        max_tokens: longest answer; None for the model's own.
        compile_vision: compile BLIP's vision tower.
        model_threads: batches a model works on at once; None chooses. Changes no byte where a model can share.
        processes: that build this cache on this machine; they share its cores.
    """

    dataset: str
    source: Path
    cache: Path
    fields: tuple[str, ...] | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    scan: ScanOptions = field(default_factory=ScanOptions)
    strip: StripSettings = field(default_factory=StripSettings)
    detector: str | None = None
    vqa: str = EMBEDDED
    cnn: str = EMBEDDED
    questions: tuple[str, ...] = DEFAULT_QUESTIONS
    choices: tuple[str, ...] = DEFAULT_CHOICES
    limit: int | None = None
    shard_size: int = 256
    batch_size: int = 32
    workers: int | None = None
    deadline: float = 60.0
    decoder: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    image_size: int | None = None
    enc_token: bool = False
    max_tokens: int | None = None
    compile_vision: bool = False
    model_threads: int | None = None
    processes: int = 1

    def __post_init__(self) -> None:
        positive = {"--limit": self.limit, "--shard-size": self.shard_size, "--batch-size": self.batch_size}
        positive |= {"--model-threads": self.model_threads}
        for name, value in positive.items():
            if value is not None and value < 1:
                raise UserError(f"{name} {value}: must be 1 or more")
        if self.workers is not None and self.workers < 0:
            raise UserError(f"--workers {self.workers}: must be 0 or more")
        if self.deadline <= 0:
            raise UserError(f"--deadline {self.deadline}: must be more than 0 seconds")

    def variant(self, name: str) -> str:
        return self.variants.get(name, "default")
