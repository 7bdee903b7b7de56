"""Losses: the published formula written out row by row, and the masks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmcl_train.method.losses import classification_loss, contrastive_loss, masked_mean, refinement_losses


def make_views(rows: int = 7, width: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(11)
    skeleton, rgb = (torch.randn(rows, width, generator=generator, dtype=torch.float64) for _ in range(2))
    return skeleton.requires_grad_(), rgb.requires_grad_()


def plain_contrast(skeleton: Tensor, rgb: Tensor, temperature: float) -> float:
    """The published sum, term by term."""

    def similarity(a: Tensor, b: Tensor) -> float:
        return float(a @ b / (a.norm() * b.norm()))

    def one(a: Tensor, b: Tensor, i: int) -> float:
        own = math.exp(similarity(a[i], b[i]) / temperature)
        others = sum(
            math.exp(similarity(a[i], other[k]) / temperature)
            for other in (a, b)
            for k in range(len(a))
            if k != i
        )
        return -math.log(own / (own + others))

    rows = range(len(skeleton))
    return sum(one(skeleton, rgb, i) + one(rgb, skeleton, i) for i in rows) / (2 * len(skeleton))


@pytest.mark.parametrize("temperature", [0.4, 0.07])
def test_contrastive_loss_equals_the_formula_term_by_term(temperature: float) -> None:
    skeleton, rgb = make_views()
    plain = plain_contrast(skeleton.detach(), rgb.detach(), temperature)
    assert contrastive_loss(skeleton, rgb, temperature).item() == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize("kept", [[0, 2, 3, 6], [4, 5], [1], list(range(7))])
def test_masked_contrastive_loss_and_gradients_equal_those_of_the_kept_rows(kept: list[int]) -> None:
    skeleton, rgb = make_views()
    valid = torch.zeros(7, dtype=torch.bool)
    valid[kept] = True
    masked = contrastive_loss(skeleton, rgb, 0.4, valid)
    wanted = contrastive_loss(skeleton[kept], rgb[kept], 0.4)
    torch.testing.assert_close(masked, wanted)
    ours = torch.autograd.grad(masked, (skeleton, rgb), retain_graph=True)
    theirs = torch.autograd.grad(wanted, (skeleton, rgb))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
        assert not a[~valid].any()


def test_batch_without_a_valid_row_gives_zero_and_no_gradient() -> None:
    skeleton, rgb = make_views()
    loss = contrastive_loss(skeleton, rgb, 0.4, torch.zeros(7, dtype=torch.bool))
    gradients = torch.autograd.grad(loss, (skeleton, rgb))
    assert loss.item() == 0 and not any(g.any() for g in gradients)


def test_masked_rows_may_hold_anything() -> None:
    skeleton, rgb = make_views()
    valid = torch.tensor([True] * 5 + [False] * 2)
    spoilt = rgb.detach().clone()
    spoilt[5:] = torch.nan
    loss = contrastive_loss(skeleton, spoilt, 0.4, valid)
    (gradient,) = torch.autograd.grad(loss, skeleton)
    assert torch.isfinite(loss) and torch.isfinite(gradient).all()
    torch.testing.assert_close(loss, contrastive_loss(skeleton[:5], rgb[:5], 0.4))


def test_contrastive_loss_has_right_gradients_by_finite_differences() -> None:
    skeleton, rgb = make_views(4, 3)
    valid = torch.tensor([True, False, True, True])
    assert torch.autograd.gradcheck(lambda a, b: contrastive_loss(a, b, 0.4, valid), (skeleton, rgb))


def test_low_temperature_does_not_overflow() -> None:
    skeleton, rgb = make_views()
    assert torch.isfinite(contrastive_loss(skeleton.float(), rgb.float(), 1e-3))


def test_half_precision_is_widened() -> None:
    skeleton, rgb = make_views()
    assert contrastive_loss(skeleton.bfloat16(), rgb.half()).dtype == torch.float32


@pytest.mark.parametrize(("shape", "temperature"), [((7, 4), 0.4), ((6, 5), 0.4), ((7, 5), 0.0)])
def test_contrastive_loss_refuses_other_shapes_and_temperatures(
    shape: tuple[int, int], temperature: float
) -> None:
    with pytest.raises(ValueError):
        contrastive_loss(make_views()[0], torch.ones(shape, dtype=torch.float64), temperature)


def test_masked_mean_of_refinement_equals_that_of_the_kept_rows() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(2), requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    valid = torch.tensor([True, False, True, True, False, True])
    masked = masked_mean(refinement_losses(logits, labels), valid)
    wanted = classification_loss(logits[valid], labels[valid])
    torch.testing.assert_close(masked, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (masked, wanted)))
    assert masked_mean(torch.ones(3), torch.zeros(3, dtype=torch.bool)).item() == 0
