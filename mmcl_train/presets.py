"""Presets: functions that return a full RunConfig, and what is known of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mmcl_cache.store import UserError

from .config import (
    ClipConfig,
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimiserConfig,
    RunConfig,
    ScheduleConfig,
    TrainConfig,
)

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Preset:
    """A recipe and what to expect of it. `expected` is as published; `hours` and `hardware` are ours."""

    make: Callable[[], RunConfig]
    command: str
    expected: str
    hours: str = NOT_MEASURED
    hardware: str = NOT_MEASURED


def ntu120_mmcl() -> RunConfig:
    """MMCL as released for NTU-120: batch 200, 110 epochs, steps 90 and 100, every training sample trained on.

    `data.val` is none here, so that the training set is the published one: the last epoch is reported, and there is no
    best epoch. `--set data.val=subjects` holds training subjects out and adds it.
    """
    return RunConfig(preset="ntu120-mmcl", data=DataConfig(val="none"))


def ntu60_mmcl() -> RunConfig:
    """The NTU-120 recipe of MMCL on NTU-60; no other configuration is released."""
    return replace(ntu120_mmcl(), preset="ntu60-mmcl")


def ntu120_ctrgcn() -> RunConfig:
    """CTR-GCN's own training, without co-learning: batch 64, 65 epochs, steps 35 and 55."""
    return RunConfig(
        preset="ntu120-ctrgcn",
        data=DataConfig(val="none"),
        method=MethodConfig(enabled=False),
        schedule=ScheduleConfig(epochs=65, steps=(35, 55)),
        train=TrainConfig(batch=64),
    )


def ntu60_ctrgcn() -> RunConfig:
    """CTR-GCN's own training on NTU-60."""
    return replace(ntu120_ctrgcn(), preset="ntu60-ctrgcn")


def nw_ucla() -> RunConfig:
    """CTR-GCN's NW-UCLA recipe: clip 52 (the cache's), data five times an epoch, 65 epochs, step 50, decay 1e-4.

    Skeletons only: the data set's colour videos are no longer handed out. With a cache that has text and rgb,
    `--set method.enabled=true`.
    """
    return RunConfig(
        preset="nw-ucla",
        data=DataConfig(val="none", repeat=5),
        method=MethodConfig(enabled=False),
        optimiser=OptimiserConfig(weight_decay=1e-4),
        schedule=ScheduleConfig(epochs=65, steps=(50,)),
        train=TrainConfig(batch=16),
    )


def nw_ucla_short() -> RunConfig:
    """14 epochs without repeats, warm-up 2, steps 8 and 11: a CPU's budget, to compare with the published code's."""
    return replace(
        nw_ucla(),
        preset="nw-ucla-short",
        data=DataConfig(val="none"),
        schedule=ScheduleConfig(epochs=14, warmup=2, steps=(8, 11)),
    )


def utd_mhad() -> RunConfig:
    """UTD-MHAD (861 clips) on a CPU's budget; a training subject is held out as val."""
    return RunConfig(
        preset="utd-mhad",
        data=DataConfig(val="subjects"),
        model=ModelConfig(width=0.5),
        optimiser=OptimiserConfig(lr=0.05),
        schedule=ScheduleConfig(epochs=40, warmup=3, steps=(25, 35)),
        train=TrainConfig(batch=16),
    )


def demo() -> RunConfig:
    """The generated data set in about two minutes on two CPU cores."""
    return RunConfig(
        preset="demo",
        data=DataConfig(val="subjects"),
        clip=ClipConfig(length=32),
        model=ModelConfig(width=0.25),
        optimiser=OptimiserConfig(lr=0.05),
        schedule=ScheduleConfig(epochs=16, warmup=2, steps=(11, 14)),
        train=TrainConfig(batch=16),
    )


def small() -> RunConfig:
    """A start for data of one's own: half the width, 40 epochs, batch 16, training subjects held out."""
    return replace(utd_mhad(), preset="small")


PRESETS: dict[str, Preset] = {
    "ntu120-mmcl": Preset(
        ntu120_mmcl,
        "mmcl-train run --cache caches/ntu120 --protocol xsub",
        "CTR-GCN joint, X-Sub 85.79 (six streams 90.3; X-Set 91.7), MMCL table",
    ),
    "ntu60-mmcl": Preset(
        ntu60_mmcl,
        "mmcl-train run --cache caches/ntu60 --protocol xsub",
        "six streams, X-Sub 93.5, X-View 97.4; no single stream is published",
    ),
    "ntu120-ctrgcn": Preset(
        ntu120_ctrgcn,
        "mmcl-train run --cache caches/ntu120 --protocol xsub --preset ntu120-ctrgcn",
        "CTR-GCN joint, X-Sub 85.01 (without co-learning), MMCL table",
    ),
    "ntu60-ctrgcn": Preset(
        ntu60_ctrgcn,
        "mmcl-train run --cache caches/ntu60 --protocol xsub --preset ntu60-ctrgcn",
        "four streams 92.4 X-Sub, 96.8 X-View, CTR-GCN",
    ),
    "nw-ucla": Preset(
        nw_ucla,
        "mmcl-train run --cache caches/nw-ucla",
        "four streams 96.5 (CTR-GCN), six with co-learning 97.5; about 94-95 for the joint stream",
    ),
    "nw-ucla-short": Preset(
        nw_ucla_short,
        "mmcl-train run --cache caches/nw-ucla --preset nw-ucla-short",
        "joint 81.3 with the published code in the same budget, one seed",
    ),
    "utd-mhad": Preset(utd_mhad, "mmcl-train run --cache caches/utd-mhad", "none published for training"),
    "demo": Preset(demo, "mmcl-train run --cache caches/demo", "none: generated data"),
    "small": Preset(small, "mmcl-train run --cache CACHE --preset small", "none: a start for other data"),
}

# data set of a cache → its preset; any other data set starts from "small".
DEFAULTS: dict[str, str] = {
    "ntu120": "ntu120-mmcl",
    "ntu60": "ntu60-mmcl",
    "nw-ucla": "nw-ucla",
    "utd-mhad": "utd-mhad",
    "demo": "demo",
}


def create_preset(name: str) -> RunConfig:
    """The full config of a preset. Raises UserError that lists the known ones."""
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name].make()


def choose_preset(dataset: str) -> str:
    """Name of the preset a data set starts from."""
    return DEFAULTS.get(dataset, "small")
