"""Batch norm over rows that may stand for several alike rows, with statistics that are quick on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class RowNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d`, whose rows may count more than once in training.

    On a CPU torch sums the statistics value by value; here they are sums over vectors, which pays for the
    second pass that counts need (docs/performance.md). On other devices, in other precisions and under a
    compiler torch's own kernel runs, and no rows are merged.
    """

    row_counts: Tensor | None = None  # (N,) float; None: each row once

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → the same shape."""
        if not self.training or not is_quick(x):
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        y, mean, variance, count = _Normalise.apply(x, self.weight, self.bias, self.eps, self.row_counts)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        return y


def is_quick(x: Tensor) -> bool:
    """Is this where the statistics are taken here, and rows may count more than once."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


class _Normalise(torch.autograd.Function):
    """With c_n the count of row n and S = T·V·Σ c_n:  mean = Σ c_n x / S,  variance = Σ c_n (x − mean)² / S.

    The gradient that comes in is already the sum over what a row stands for, so only the terms that pass
    through the statistics are scaled by c_n.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, row_counts: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        counts = x.new_ones(x.shape[0]) if row_counts is None else row_counts.to(x.dtype)
        count = float(counts.sum()) * x.shape[2] * x.shape[3]
        mean = counts @ x.sum(dim=(2, 3)) / count
        centred = x - mean.view(-1, 1, 1)
        variance = counts @ torch.linalg.vector_norm(centred, dim=(2, 3)).square_() / count
        y = torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)[0]
        ctx.save_for_backward(x, weight, mean, variance, row_counts)
        ctx.eps, ctx.count = eps, count
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, row_counts = ctx.saved_tensors
        scale = (variance + ctx.eps).rsqrt_()
        through_statistics = row_counts is None
        grad_x, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grads[0].contiguous(),
            x,
            weight,
            mean,
            variance,
            mean,
            scale,
            through_statistics,
            ctx.eps,
            [True, True, True],
        )
        if not through_statistics:
            share = weight * scale / ctx.count
            pull = torch.native_batch_norm(
                x, grad_weight * share, grad_bias * share, mean, variance, False, 0.0, ctx.eps
            )[0]
            grad_x -= pull.mul_(row_counts.to(x.dtype).view(-1, 1, 1, 1))
        return grad_x, grad_weight, grad_bias, None, None
