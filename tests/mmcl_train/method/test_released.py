"""The whole method equals the released model: losses, logits, refined logits and every gradient's norm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmcl_train.backbones.published import PublishedKeyError, export_published, published_gradients
from mmcl_train.method.published import METHOD_RULES, export_task, import_task, method_tensors
from tests.mmcl_train.method.golden_task import load_values, make_task, released_batch, released_state

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def golden(shared: Path):
    folder = shared / "golden"
    meta, values = load_values(folder)
    task = make_task()
    import_task(task, released_state(folder, meta))
    task.train()
    output = task(released_batch(folder, meta, values))
    output.losses.total.backward()
    return task, output, meta, values


@pytest.mark.parametrize("name", ["classification", "contrastive", "refinement", "total"])
def test_loss_equals_released_model(golden, name: str) -> None:
    _, output, _, values = golden
    assert getattr(output.losses, name).item() == pytest.approx(float(values[name]), abs=TOLERANCE)


@pytest.mark.parametrize("name", ["logits", "refined"])
def test_logits_equal_released_model(golden, name: str) -> None:
    _, output, _, values = golden
    np.testing.assert_allclose(getattr(output, name).detach().numpy(), values[name], atol=TOLERANCE)


def test_every_gradient_norm_equals_released_model(golden) -> None:
    task, _, meta, values = golden
    shapes = {name: tuple(shape) for name, shape in meta["keys"]}
    gradients = published_gradients(task.model, task.model.backbone.published_rules, shapes)
    own = {name: parameter.grad for name, parameter in method_tensors(task).items()}
    gradients |= export_published(own, METHOD_RULES, shapes)
    ours = np.array([gradients[name].norm().item() for name in meta["grad_keys"]])
    np.testing.assert_allclose(ours, values["grad_norms"], atol=TOLERANCE * values["grad_norms"].max())


def test_released_names_come_back_on_export(golden, shared: Path) -> None:
    task, _, meta, _ = golden
    exported = export_task(task, {name: tuple(shape) for name, shape in meta["keys"]})
    assert set(exported) == {name for name, _ in meta["keys"]}
    state = released_state(shared / "golden", meta)
    torch.testing.assert_close(exported["NegMatrix"], state["NegMatrix"].double())
    torch.testing.assert_close(exported["FAM_Aligh.mlp.0.weight"], state["FAM_Aligh.mlp.0.weight"].double())


def test_released_cnn_is_left_out_and_a_missing_part_is_named(shared: Path) -> None:
    meta, _ = load_values(shared / "golden")
    state = released_state(shared / "golden", meta)
    import_task(make_task(), {**state, "inception_v3.fc.weight": torch.zeros(1)})
    del state["PosMatrix"]
    with pytest.raises(PublishedKeyError, match="lacks PosMatrix"):
        import_task(make_task(), state)


def test_import_into_other_classes_names_the_shapes(shared: Path) -> None:
    meta, _ = load_values(shared / "golden")
    with pytest.raises(
        PublishedKeyError, match=r"PosMatrix, NegMatrix give \(2, 120\), frm.matrices is \(2, 60\)"
    ):
        import_task(make_task(classes=60), released_state(shared / "golden", meta))
