"""Whole backbones equal themselves with every fused part stated plainly: features and gradients in training."""

from __future__ import annotations

import pytest
import torch

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import create_backbone

from .plain_parts import WHOLE, plainly


def run(name: str) -> list[torch.Tensor]:
    """Features in training and in eval, and the gradient of every parameter that has one."""
    torch.manual_seed(0)
    model = create_backbone(name, layout=LAYOUTS["ntu25"], clip_length=12, width=0.25).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    joints = torch.randn(2, 3, 12, 25, 2, dtype=torch.float64)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.p = 0.0
    torch.manual_seed(1)
    trained = model.train()(joints)
    trained.square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    with torch.no_grad():
        return [trained.detach(), model.eval()(joints), *gradients]


@pytest.mark.parametrize("name", WHOLE)
def test_fused_backbone_equals_the_plain_one(name: str) -> None:
    fused = run(name)
    with plainly():
        plain = run(name)
    assert len(fused) == len(plain)
    largest = max(float(value.abs().max()) for value in plain[2:])
    for ours, theirs in zip(fused[:2], plain[:2], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(fused[2:], plain[2:], strict=True):
        assert float((ours - theirs).abs().max()) <= 1e-9 * largest
