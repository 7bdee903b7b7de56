"""Every setting of a training run: a tree of frozen dataclasses.

A config holds plain values only. Empty strings and zeros that say "the cache's own" are filled in once, at the
start of a run (`engine.inputs.resolve`), so that the saved config.json is complete and repeats the run.
`mmcl_train.settings` reads and writes configs and single settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mmcl_cache.store import UserError


@dataclass(frozen=True)
class DataConfig:
    """What is read from the cache."""

    cache: str = ""
    protocol: str = ""  # "": the first protocol of the cache
    stream: str = "joint"
    skeleton_variant: str = "default"
    text_variant: str = "default"
    rgb_variant: str = "default"
    strip_variant: str = "default"  # of method.rgb=online
    text_feature: str = "hidden"  # hidden | hidden_last | choices | tokens (as published, see data.features)
    rgb_feature: str = "logits"  # logits (as published) | pooled
    placement: str = "auto"  # auto | device | host: where the data lie
    val: str = "subjects"  # subjects | samples | none: what is held out of the training samples
    val_share: float = 0.1  # share of the training samples to hold out, at least one subject
    repeat: int = 1  # times an epoch passes over the training samples


@dataclass(frozen=True)
class ClipConfig:
    """How a clip is cut from a sample."""

    transform: str = ""  # "": the cache's own ("crop-resize", "nw-ucla")
    length: int = 0  # frames; 0: the cache's own
    crop: tuple[float, float] = (0.5, 1.0)  # share of the valid frames kept in training, uniform
    test_crop: float = 0.95
    rotation: float = 0.3  # radians, uniform about each axis in training
    shortest: int = 64  # frames a training crop keeps at least, where the sample has them


@dataclass(frozen=True)
class ModelConfig:
    """The skeleton model: all that is left of a run at test time."""

    backbone: str = "ctrgcn"
    width: float = 1.0
    init: str = (
        ""  # folder of a finished run to start from; its classifier only where the classes are the same
    )


@dataclass(frozen=True)
class MethodConfig:
    """Co-learning: the losses beside the classification, used in training only."""

    enabled: bool = True
    fam: bool = True  # feature alignment with RGB
    frm: bool = True  # refinement with text
    lambda_contrastive: float = 0.1
    lambda_refinement: float = 0.2
    temperature: float = 0.4
    # Another publication's objective beside these, with co-learning or without. "": the backbone's own, where its
    # publication has one (infogcn, protogcn); none; frhead, skeletongcl, infogcn, protogcn
    auxiliary: str = ""
    auxiliary_weight: float = 0.0  # 0: as published
    rgb: str = "cached"  # cached | online (the CNN trained in the loop from the strips, as published)
    cnn: str = "inception_v3"  # of method.rgb=online: inception_v3 (as published) | small


@dataclass(frozen=True)
class OptimiserConfig:
    """Stochastic gradient descent."""

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 4e-4


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate by epoch: linear warm-up, then times `gamma` at each step."""

    epochs: int = 110
    warmup: int = 5
    steps: tuple[int, ...] = (90, 100)
    gamma: float = 0.1


@dataclass(frozen=True)
class TrainConfig:
    """The loop."""

    seed: int = 1
    batch: int = 200  # samples a step over all processes, accumulation included
    test_batch: int = 256
    accumulation: int = 1  # parts a batch is cut into; the contrastive loss sees one part of all processes
    precision: str = "fp32"  # fp32 | bf16
    compile: bool = False
    kernels: str = "auto"  # auto | plain | triton: CTR-GCN's graph product, see mmcl_train.kernels
    sync_batchnorm: bool = False  # statistics over all processes; the published code has them per device
    device: str = "auto"
    check_every: int = 20  # steps between two looks at the losses: the only wait for the device in an epoch
    checkpoint_minutes: float = 10.0  # beside the one at each epoch's end
    trackers: tuple[str, ...] = ()  # of accelerate, e.g. wandb; JSON lines and TensorBoard are always written
    report_best_on_test: bool = False


@dataclass(frozen=True)
class RunConfig:
    """One run. Presets are functions that return one of these."""

    preset: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


CHOICES: dict[str, tuple[str, ...]] = {
    "data.text_feature": ("tokens", "choices", "hidden", "hidden_last"),
    "data.rgb_feature": ("logits", "pooled"),
    "data.placement": ("auto", "device", "host"),
    "data.val": ("subjects", "samples", "none"),
    "method.rgb": ("cached", "online"),
    "method.cnn": ("inception_v3", "small"),
    "method.auxiliary": ("", "none", "frhead", "infogcn", "protogcn", "skeletongcl"),
    "train.kernels": ("auto", "plain", "triton"),
    "train.precision": ("fp32", "bf16"),
}

# Settings that change where or how a run is done but not what it is: a run continues when only these differ.
PLACE_KEYS = frozenset(
    {
        "data.cache",
        "train.device",
        "train.checkpoint_minutes",
        "train.trackers",
        "train.test_batch",
        "data.placement",
    }
)

LEAST: dict[str, float] = {
    "data.repeat": 1,
    "clip.length": 0,
    "clip.shortest": 1,
    "method.lambda_contrastive": 0,
    "method.lambda_refinement": 0,
    "method.auxiliary_weight": 0,
    "optimiser.lr": 0,
    "optimiser.momentum": 0,
    "optimiser.weight_decay": 0,
    "schedule.epochs": 1,
    "schedule.warmup": 0,
    "schedule.gamma": 0,
    "train.seed": 0,
    "train.batch": 1,
    "train.test_batch": 1,
    "train.accumulation": 1,
    "train.check_every": 1,
    "train.checkpoint_minutes": 0,
}


def check_values(config: RunConfig, where: str) -> None:
    """Raise UserError for a value no run can have."""
    for key, choices in CHOICES.items():
        value = _value(config, key)
        if value not in choices:
            raise UserError(f"{where}: {key} is {value!r}; known: {', '.join(choices)}")
    for key, least in LEAST.items():
        if not least <= _value(config, key) < float("inf"):
            raise UserError(f"{where}: {key} must be at least {least}, not {_value(config, key)}")
    if config.train.batch % config.train.accumulation:
        raise UserError(
            f"{where}: train.batch {config.train.batch} cannot be cut into {config.train.accumulation} equal parts "
            "(train.accumulation)"
        )
    low, high = config.clip.crop
    if not 0 < low <= high <= 1:
        raise UserError(f"{where}: clip.crop must be two shares 0 < low <= high <= 1, not {low}, {high}")
    if not 0 < config.data.val_share < 1:
        raise UserError(f"{where}: data.val_share must be between 0 and 1, not {config.data.val_share}")
    if config.method.temperature <= 0:
        raise UserError(f"{where}: method.temperature must be above 0, not {config.method.temperature}")


def _value(config: RunConfig, key: str) -> Any:
    section, leaf = key.split(".")
    return getattr(getattr(config, section), leaf)
