from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmcl_cache.store import UserError
from mmcl_train.engine.assembly import load_initial
from mmcl_train.engine.checkpoint import unpack
from tests.mmcl_train.deploy.small_run import describe, make_model, make_run


def test_a_run_of_the_same_classes_gives_everything(tmp_path: Path) -> None:
    run, about = make_run(tmp_path), describe()
    model = make_model(about)
    torch.nn.init.zeros_(model.classifier.weight)
    load_initial(model, run, about.classes)
    assert all(
        torch.equal(value, unpack(run / "model.safetensors")[n]) for n, value in model.state_dict().items()
    )


def test_a_run_of_other_classes_gives_all_but_the_classifier(tmp_path: Path) -> None:
    run, about = make_run(tmp_path), describe(classes=9)
    model = make_model(about)
    own = model.classifier.weight.clone()
    for parameter in model.backbone.parameters():
        torch.nn.init.zeros_(parameter)
    load_initial(model, run, about.classes)
    assert torch.equal(model.classifier.weight, own)
    stored = unpack(run / "model.safetensors")
    state = model.backbone.state_dict()
    assert all(torch.equal(value, stored[f"backbone.{name}"]) for name, value in state.items())


@pytest.mark.parametrize("change", [{"backbone": "stgcn"}, {"width": 0.25}, {"layout": "coco17"}])
def test_a_run_of_another_model_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    run, about = make_run(tmp_path), describe(**change)
    with pytest.raises(UserError, match="does not fit"):
        load_initial(make_model(about), run, about.classes)
