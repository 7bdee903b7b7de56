"""Inputs of the norm, and what is compared of two answers to them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmcl_train.kernels import normalise, runs_fused_norm
from mmcl_train.kernels.plain import plain_norm

TOLERANCE = {torch.float32: 2e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
FOLLOWED = [(False, False), (False, True), (True, False), (True, True)]  # by a residual, by a ReLU


def draw(size: tuple[int, int, int, int], dtype: torch.dtype, residual: bool) -> list[Tensor | None]:
    """x far from zero, weight, bias and residual, float64 of what the type can hold."""
    torch.manual_seed(0)
    x = 5 + 2 * torch.randn(size, dtype=torch.float64)
    weight, bias = torch.randn(2, size[1], dtype=torch.float64)
    added = torch.randn(size, dtype=torch.float64) if residual else None
    return [x.to(dtype).double(), weight, bias, None if added is None else added.to(dtype).double()]


def run(norm: Any, inputs: list[Tensor | None], *fixed: object) -> list[Tensor]:
    """Output, statistics and gradients of a weighed sum of the output, float64."""
    leaves = [None if value is None else value.clone().requires_grad_() for value in inputs]
    y, mean, variance = norm(*leaves, *fixed)
    weights = torch.arange(y.numel(), dtype=torch.float64, device=y.device).view_as(y).cos()
    gradients = torch.autograd.grad(
        (y.double() * weights).sum(), [value for value in leaves if value is not None]
    )
    return [value.detach().double() for value in (y, mean, variance, *gradients)]


def narrowed(inputs: list[Tensor | None], dtype: torch.dtype) -> list[Tensor | None]:
    """x and residual of this type, weight and bias float32."""
    types = (dtype, torch.float32, torch.float32, dtype)
    return [None if value is None else value.to(kind) for value, kind in zip(inputs, types, strict=True)]


def check_norm(
    size: tuple[int, int, int, int],
    dtype: torch.dtype,
    device: str,
    *,
    residual: bool,
    relu: bool,
    counted: bool,
) -> None:
    """The fused norm, its statistics and all gradients against the plain one in float64."""
    exact = [None if value is None else value.to(device) for value in draw(size, dtype, residual)]
    counts = 1 + 3 * (torch.arange(size[0], device=device) % 2).float() if counted else None
    fixed = (counts, int(counts.sum()) if counts is not None else size[0], 1e-5, relu)
    narrow = narrowed(exact, dtype)
    assert narrow[0] is not None and runs_fused_norm(narrow[0])
    found, wanted = run(normalise, narrow, *fixed), run(plain_norm, exact, *fixed)
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        error = float((one - other).norm() / other.norm())
        assert error < TOLERANCE[dtype], (number, error)
