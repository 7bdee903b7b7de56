"""Batch norm with residual and ReLU as one operation of torch: launched by Triton, differentiable, known to
torch.compile.

Needs triton; `choice` imports it only where it can run.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from .norm_programs import (
    apply_program,
    combine_program,
    gradient_program,
    gradient_sums_program,
    moments_program,
)

LONGEST = 2048  # values that a program holds at once
COMBINED = {"BLOCK_N": 64, "BLOCK_C": 16}


def tile_of(length: int) -> dict[str, int]:
    """A block that holds a row where it can, and warps that share it: 8 values a thread."""
    block = min(LONGEST, max(256, int(triton.next_power_of_2(length))))
    return {"BLOCK": block, "num_warps": block // 256}


def inner_contiguous(value: Tensor) -> Tensor:
    """(N, C, T, V) whose T · V values of a row and channel lie one after the other: a slice of channels may stay."""
    return value if value[0, 0].is_contiguous() else value.contiguous()


@torch.library.custom_op("mmcl::norm", mutates_args=())
def fused_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None,
    row_counts: Tensor | None,
    total: int,
    eps: float,
    relu: bool,
    left_out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """y = relu(weight · (x − mean) / √(variance + eps) + bias + residual), with the statistics of the batch.

    Args:
        x: (N, C, T, V).
        weight, bias: (C,).
        residual: of x's shape; None for none.
        row_counts: (N,) how often a row counts; None: once.
        total: their sum.
        eps: of the norm.
        relu: whether negative values become 0.
        left_out: (C,) a bias that was not added to x, as the norm takes it away: it gets its gradient, zero.

    Returns:
        y of x's type, contiguous; mean and variance (C,) float32, without gradients.
    """
    n, channels, frames, joints = x.shape
    length = frames * joints
    x = inner_contiguous(x)
    y = x.new_empty(x.shape)
    means, squares = x.new_empty((2, n, channels), dtype=torch.float32)
    mean, variance = (x.new_empty(channels, dtype=torch.float32) for _ in range(2))
    grid, tile = (channels, n), tile_of(length)
    moments_program[grid](x, means, squares, channels, length, *x.stride()[:2], **tile)
    combine_program[(triton.cdiv(channels, COMBINED["BLOCK_C"]),)](
        *(means, squares, means if row_counts is None else row_counts, mean, variance),
        *(n, channels, length, total),
        COUNTED=row_counts is not None,
        **COMBINED,
    )
    added = x if residual is None else inner_contiguous(residual)
    apply_program[grid](
        *(x, added, mean, variance, weight, bias, y, channels, length, eps),
        *(*x.stride()[:2], *added.stride()[:2]),
        RESIDUAL=residual is not None,
        RELU=relu,
        **tile,
    )
    return y, mean, variance


@fused_norm.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None,
    row_counts: Tensor | None,
    total: int,
    eps: float,
    relu: bool,
    left_out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    statistic = x.new_empty(x.shape[1], dtype=torch.float32)
    return x.new_empty(x.shape), statistic, torch.empty_like(statistic)


@torch.library.custom_op("mmcl::norm_backward", mutates_args=())
def fused_norm_backward(
    gradient: Tensor,
    y: Tensor,
    x: Tensor,
    weight: Tensor,
    mean: Tensor,
    variance: Tensor,
    row_counts: Tensor | None,
    total: int,
    eps: float,
    relu: bool,
    has_residual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, of bias and weight (2, C), and of the residual, empty where it has none of its own."""
    n, channels, frames, joints = x.shape
    length = frames * joints
    # A compiler may have kept y in another memory order than the programs wrote it in.
    x, gradient, y = inner_contiguous(x), inner_contiguous(gradient), y.contiguous() if relu else y
    made = x.new_empty(x.shape)
    residual_made = x.new_empty(x.shape if has_residual else 0)
    sums = x.new_empty((2, n, channels), dtype=torch.float32)
    grid, tile = (channels, n), tile_of(length)
    gradient_sums_program[grid](
        *(gradient, y, x, mean, variance, sums, residual_made, n, channels, length, eps),
        *(*gradient.stride()[:2], *x.stride()[:2]),
        RESIDUAL=has_residual,
        RELU=relu,
        **tile,
    )
    totals = sums.sum(dim=1)
    if has_residual:  # the first pass has written what the ReLU lets through
        gradient, relu = residual_made, False
    gradient_program[grid](
        *(gradient, y, x, mean, variance, weight, totals, mean if row_counts is None else row_counts),
        *(made, channels, length, total, eps, *gradient.stride()[:2], *x.stride()[:2]),
        COUNTED=row_counts is not None,
        RELU=relu,
        **tile,
    )
    return made, totals, residual_made


@fused_norm_backward.register_fake
def _(
    gradient: Tensor,
    y: Tensor,
    x: Tensor,
    weight: Tensor,
    mean: Tensor,
    variance: Tensor,
    row_counts: Tensor | None,
    total: int,
    eps: float,
    relu: bool,
    has_residual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    totals = x.new_empty((2, x.shape[1]), dtype=torch.float32)
    return x.new_empty(x.shape), totals, x.new_empty(x.shape if has_residual else 0)


def keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    """Input and statistics; the output too where it tells what the ReLU cut off. No residual."""
    x, weight, _, residual, row_counts, ctx.total, ctx.eps, ctx.relu, left_out = inputs
    y, mean, variance = output
    ctx.has_residual = residual is not None
    ctx.save_for_backward(y if ctx.relu else x, x, weight, mean, variance, row_counts, left_out)
    ctx.set_materialize_grads(False)


def give_gradients(ctx: Any, gradient: Tensor | None, *_: object) -> tuple[Tensor | None, ...]:
    """Of x, weight, bias and the residual."""
    if gradient is None:
        return (None,) * 9
    *saved, left_out = ctx.saved_tensors
    own = ctx.has_residual and ctx.relu
    made, totals, residual = fused_norm_backward(gradient, *saved, ctx.total, ctx.eps, ctx.relu, own)
    zero = None if left_out is None else torch.zeros_like(left_out)
    passed = residual if own else gradient if ctx.has_residual else None
    return made, totals[1], totals[0], passed, None, None, None, None, zero


fused_norm.register_autograd(give_gradients, setup_context=keep_inputs)
