"""The released model's values (../shared/golden/mmcl.npz) and a task that holds the same weights."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import create_backbone
from mmcl_train.data.batch import Batch
from mmcl_train.method.fam import FeatureAlignment
from mmcl_train.method.frm import FeatureRefinement
from mmcl_train.method.model import SkeletonModel
from mmcl_train.method.task import CoLearningTask


def load_recipe(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_recipe", folder / "recipe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_values(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(folder / "mmcl.npz") as file:
        return json.loads(str(file["meta"])), {name: file[name] for name in file.files if name != "meta"}


def released_state(folder: Path, meta: dict[str, Any]) -> dict[str, Tensor]:
    recipe = load_recipe(folder)
    state = {}
    for name, shape in meta["keys"]:
        value = torch.from_numpy(recipe.tensor(name, tuple(shape)))
        state[name] = 1 + value if name in ("PosMatrix", "NegMatrix") else value
    return state


def make_task(classes: int = 120, frames: int = 32) -> CoLearningTask:
    backbone = create_backbone("ctrgcn", layout=LAYOUTS["ntu25"], clip_length=frames)
    model = SkeletonModel(backbone, classes)
    fam = FeatureAlignment(1000, backbone.num_features)
    return CoLearningTask(model, fam, FeatureRefinement(3, classes)).double()


def released_batch(folder: Path, meta: dict[str, Any], values: dict[str, np.ndarray]) -> Batch:
    recipe = load_recipe(folder)
    joints = recipe.skeleton("input/mmcl", tuple(meta["shape"]))
    rows = joints.shape[0]
    rgb = recipe.generator("rgb/mmcl").standard_normal((rows, 1000)).astype(np.float32)
    every = torch.ones(rows, dtype=torch.bool)
    return Batch(
        joints=torch.from_numpy(joints).double(),
        labels=torch.from_numpy(values["labels"]),
        rgb=torch.from_numpy(rgb).double(),
        rgb_valid=every,
        text=torch.from_numpy(values["text"]),
        text_valid=every,
        indices=torch.arange(rows),
    )
