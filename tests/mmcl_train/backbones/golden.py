"""Compare one of our backbones with the values of its published implementation (../shared/golden)."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_train.backbones.base import Backbone
from mmcl_train.backbones.published import (
    export_published,
    import_published,
    own_tensors,
    published_gradients,
)

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "golden"

DRAWN = ("Linear_weight",)  # recorded under init/ too, but drawn at random


class Model(nn.Module):
    """A backbone and its classifier, as the rules name them."""

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = backbone.create_classifier(num_classes)

    def forward(self, joints: Tensor) -> Tensor:
        return self.classifier(self.backbone(joints))


@dataclass(frozen=True)
class Golden:
    name: str
    meta: dict
    values: dict[str, np.ndarray]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: tuple(shape) for key, shape in self.meta["keys"]}


@cache
def load_recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_recipe", FOLDER / "recipe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_golden(name: str) -> Golden:
    with np.load(FOLDER / f"{name}.npz") as file:
        values = {key: file[key] for key in file.files if key != "meta"}
        return Golden(name, json.loads(str(file["meta"])), values)


def published_state(golden: Golden) -> dict[str, Tensor]:
    """The published state dict: constants as published, everything else by the recipe."""
    constants = set(golden.meta["constants"])
    recipe = load_recipe()
    return {
        key: torch.from_numpy(
            golden.values[f"const/{key}"] if key in constants else recipe.tensor(key, shape)
        )
        for key, shape in golden.shapes.items()
    }


def make_input(golden: Golden) -> Tensor:
    return torch.from_numpy(load_recipe().skeleton(f"input/{golden.name}", tuple(golden.meta["shape"])))


def fill(backbone: Backbone, golden: Golden) -> Model:
    """The model in float64 with the recipe's weights."""
    model = Model(backbone, golden.meta["classes"]).double()
    import_published(
        model,
        published_state(golden),
        backbone.published_rules,
        backbone.published_ignored,
        backbone.published_aliases,
    )
    return model


def assert_close(actual: Tensor, expected: np.ndarray, tolerance: float, what: str) -> None:
    """Within `tolerance` of the largest expected value."""
    found = actual.detach().double().numpy()
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, published {expected.shape}"
    scale = max(float(np.abs(expected).max()), 1e-30)
    error = float(np.abs(found - expected).max()) / scale
    assert error <= tolerance, f"{what}: off by {error:.2e} of the largest value"


def check_initial_graphs(backbone: Backbone, golden: Golden) -> None:
    """The learnable graphs as constructed (`init/`), and constants that ours keeps too (`const/`)."""
    model = Model(backbone, golden.meta["classes"])
    ours = export_published(own_tensors(model), backbone.published_rules, golden.shapes)
    for key, expected in golden.values.items():
        kind, _, name = key.partition("/")
        if name.endswith(DRAWN):
            continue
        if kind in ("init", "const") and name in ours:
            assert_close(ours[name], expected.reshape(golden.shapes[name]), 1e-6, key)
        else:
            assert kind != "init" or not name, f"{key} is not made by ours"


def check_eval(model: Model, golden: Golden, tolerance: float, feature_into: str = "") -> None:
    """`feature_into`: the module whose input is the recorded feature, where it is not the classifier."""
    model.eval()
    dtype = next(model.parameters()).dtype
    inputs: list[Tensor] = []
    if feature_into:
        model.get_submodule(feature_into).register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with torch.no_grad():
        features = model.backbone(make_input(golden).to(dtype))
        logits = model.classifier(features)
    width = golden.values["feature"].shape[1]  # where heads are summed: the first head's input
    if inputs:
        features = inputs[0]
    assert_close(features[:, :width], golden.values["feature"], tolerance, "feature")
    assert_close(logits, golden.values["logits"], tolerance, "logits")


def check_training(model: Model, golden: Golden, tolerance: float) -> None:
    model.train()
    for module in model.modules():  # "train mode: batch statistics, no dropout"
        if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d):
            module.eval()
    labels = torch.arange(golden.meta["shape"][0]) % golden.meta["classes"]
    loss = F.cross_entropy(model(make_input(golden).double()), labels)
    assert_close(loss, golden.values["train_loss"], tolerance, "training loss")
    loss.backward()
    gradients = published_gradients(model, model.backbone.published_rules, golden.shapes)
    norms = golden.values["grad_norms"]
    expected = dict(zip(golden.meta["grad_keys"], norms, strict=True))
    largest = float(norms.max())
    worst = max(expected, key=lambda key: abs(float(gradients[key].norm()) - expected[key]))
    error = abs(float(gradients[worst].norm()) - expected[worst]) / largest
    assert error <= tolerance, f"gradient of {worst}: off by {error:.2e} of the largest norm"
    for key, norm in expected.items():
        if norm > 1e-6 * largest:  # below: a bias in front of a batch norm, nothing but rounding
            assert abs(float(gradients[key].norm()) - norm) <= max(1e-4 * norm, 1e-6 * largest), key
