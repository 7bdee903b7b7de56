"""Compare a backbone that has no reference file with a few values of its released code.

The values in the tests were computed by the authors' code in float64 on the weights and inputs that
../shared/golden/recipe.py makes from names; the recipe is read, so nothing else has to be kept.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_train.backbones.base import Backbone
from mmcl_train.backbones.published import export_published, import_published, own_tensors

from .golden import FOLDER, Model, load_recipe


def fill_by_recipe(backbone: Backbone, num_classes: int, shapes: dict[str, tuple[int, ...]]) -> Model:
    """The model in float64 with the recipe's weights.

    `shapes`: published shapes of the tensors that ours hold in parts of unequal size or other axes.
    """
    if not FOLDER.is_dir():
        pytest.skip(f"no recipe: {FOLDER} is absent")
    model = Model(backbone, num_classes).double()
    rules = backbone.published_rules
    named = export_published(own_tensors(model), rules)
    sized = {key: tuple(tensor.shape) for key, tensor in named.items()} | shapes
    recipe = load_recipe()
    state = {key: torch.from_numpy(recipe.tensor(key, shape)) for key, shape in sized.items()}
    import_published(model, state, rules, backbone.published_ignored)
    return model


def recipe_input(name: str) -> Tensor:
    """(3, 3, 32, 25, 2) float64, the input that belongs to `name`."""
    return torch.from_numpy(load_recipe().skeleton(f"input/{name}", (3, 3, 32, 25, 2))).double()


def train_once(model: Model, features: Tensor) -> tuple[float, float]:
    """Cross entropy against labels 0, 1, 2 and the norm of all gradients together."""
    loss = F.cross_entropy(model.classifier(features), torch.arange(3))
    loss.backward()
    norms = [parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]
    return float(loss.detach()), float(torch.stack(norms).norm())
