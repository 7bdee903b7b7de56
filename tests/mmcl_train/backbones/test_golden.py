"""Every registered backbone equals its publication: outputs, loss, gradients, initial graphs."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import BACKBONES, Backbone, create_backbone

from . import golden as harness

# Where the file is not called after the backbone, or the backbone takes other arguments.
GOLDEN_NAMES = {"psumnet": "psumnet_body"}
ARGUMENTS: dict[str, dict[str, int]] = {"psumnet": {"in_channels": 12}}
# "In float32 most agree to 1e-6, the attention-like ones only to 2e-4: their softmax is sharp."
FLOAT32_TOLERANCE = {"agcn": 2e-4, "aagcn": 2e-4}
# infogcn's recorded feature is what its published `fc` reads, before the latent.
FEATURE_INTO = {"infogcn": "backbone.reduce"}


@dataclass
class Case:
    name: str
    golden: harness.Golden
    arguments: dict[str, int] = field(default_factory=dict)

    def create(self) -> Backbone:
        layout = "ntu25-hands" if "22->8" in self.golden.meta["graph"] else "ntu25"
        _, _, frames, _, bodies = self.golden.meta["shape"]
        torch.manual_seed(0)
        return create_backbone(
            self.name, layout=LAYOUTS[layout], num_bodies=bodies, clip_length=frames, **self.arguments
        )


@pytest.fixture(params=sorted(BACKBONES))
def case(request: pytest.FixtureRequest) -> Case:
    name = request.param
    file = GOLDEN_NAMES.get(name, name)
    if not harness.FOLDER.is_dir():
        pytest.skip(f"no reference values: {harness.FOLDER} is absent")
    if not (harness.FOLDER / f"{file}.npz").is_file():
        pytest.skip(f"no reference values are published for {name}")
    return Case(name, harness.load_golden(file), ARGUMENTS.get(name, {}))


def test_initial_graphs_equal_the_published_ones(case: Case) -> None:
    harness.check_initial_graphs(case.create(), case.golden)


def test_features_and_logits_equal_the_published_ones(case: Case) -> None:
    model = harness.fill(case.create(), case.golden)
    harness.check_eval(model, case.golden, 1e-6, FEATURE_INTO.get(case.name, ""))


def test_training_loss_and_gradients_equal_the_published_ones(case: Case) -> None:
    if "train_loss" not in case.golden.values:
        pytest.skip(f"the reference of {case.name} has no training values")
    harness.check_training(harness.fill(case.create(), case.golden), case.golden, 1e-6)


def test_single_precision_stays_near_the_published_values(case: Case) -> None:
    model = harness.fill(case.create(), case.golden).float()
    harness.check_eval(
        model, case.golden, FLOAT32_TOLERANCE.get(case.name, 1e-4), FEATURE_INTO.get(case.name, "")
    )
