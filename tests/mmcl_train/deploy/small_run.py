"""Run folders without a training: random weights, batch norm fitted to what the model will see."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmcl_cache.store import LAYOUTS
from mmcl_train.data.clips import ClipSettings
from mmcl_train.deploy.model_input import usual_cleaning
from mmcl_train.engine.assembly import create_model
from mmcl_train.engine.model_file import ModelAbout, write_model
from mmcl_train.method.model import SkeletonModel

NTU = {"format": "ntu-skeleton"}


def make_model(about: ModelAbout) -> SkeletonModel:
    """Weights of a fixed seed; logits of an ordinary size, as after a training."""
    torch.manual_seed(0)
    model = create_model(
        about.backbone,
        width=about.width,
        layout=about.layout,
        num_bodies=about.num_bodies,
        clip_length=about.clip.length,
        in_channels=about.in_channels,
        num_classes=len(about.classes),
    )
    shape = (about.in_channels, about.clip.length, about.layout.num_joints, about.num_bodies)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.randn(4, *shape))
    return model.eval()


def describe(layout: str = "ntu25", classes: int = 7, **changes: Any) -> ModelAbout:
    transform = "nw-ucla" if layout == "nw-ucla20" else "crop-resize"
    skeleton: Mapping[str, Any] = usual_cleaning(LAYOUTS[layout])
    about = ModelAbout(
        backbone="ctrsgcn",
        width=0.125,
        layout=LAYOUTS[layout],
        num_bodies=2 if layout.startswith("ntu25") else 1,
        in_channels=3,
        classes=tuple(f"class {n}" for n in range(classes)),
        stream="joint",
        clip=ClipSettings(transform=transform, length=16),
        dataset="",
        protocol="xsub",
        skeleton_variant="default",
        run={"run": "small", "fingerprint": "0" * 16, "seed": 0, "co_learning": False},
        skeleton=dict(skeleton),
    )
    return dataclasses.replace(about, **changes)


def make_run(folder: Path, layout: str = "ntu25", classes: int = 7, **changes: Any) -> Path:
    about = describe(layout, classes, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder, make_model(about).state_dict(), about)
    return folder
