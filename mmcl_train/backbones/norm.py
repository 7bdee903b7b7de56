"""Batch norm with residual and ReLU, over rows that may stand for several alike rows; quick on a CPU and on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_train.kernels import normalise, runs_fused_norm

NARROW = (torch.bfloat16, torch.float16)
_for_gpu = False


def widen(values: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return values.float() if values.dtype in NARROW else values


class RowNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` and what often follows it; in training rows may count more than once.

    On a GPU norm, residual and ReLU are one fused operation (`kernels.normalise`) where it can run. On a CPU torch
    sums the statistics value by value; here they are sums over vectors, which pays for the second pass that
    counts need (docs/performance.md). Otherwise torch's own kernel runs where every row counts once.
    """

    row_counts: Tensor | None = None  # (N,) float; None: each row once
    row_total: int = 0  # their sum, known without asking a device

    def forward(
        self,
        x: Tensor,
        residual: Tensor | None = None,
        *,
        relu: bool = False,
        left_out: Tensor | None = None,
    ) -> Tensor:
        """(N, C, T, V) → the same shape: norm(x) + residual, not below 0 with `relu`.

        `left_out` (C,) is a bias that belongs to x and was not added. In training the norm would take it away
        again: its gradient is zero, and only the running mean has it.
        """
        counts, fused = self.row_counts, self.training and runs_fused_norm(x)
        if left_out is not None and not fused:
            x = x + left_out.view(-1, 1, 1)
        if not self.training or (counts is None and not fused and not is_quick(x)):
            return finish(super().forward(x), residual, relu=relu)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        rows = x.shape[0] if counts is None else self.row_total
        count = rows * x.shape[2] * x.shape[3]
        if fused:
            y, mean, variance = normalise(
                x, self.weight, self.bias, residual, counts, rows, self.eps, relu, left_out
            )
            mean = mean if left_out is None else mean + left_out.detach()
        else:
            y, mean, variance = _Normalise.apply(x, self.weight, self.bias, self.eps, counts, count)
            y = finish(y, residual, relu=relu)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        return y


def normed_conv(
    conv: nn.Conv2d, norm: nn.Module, x: Tensor, residual: Tensor | None = None, *, relu: bool = False
) -> Tensor:
    """norm(conv(x)) + residual, not below 0 with `relu`; the bias is left out where `takes_bias` says so."""
    made: Tensor
    if takes_bias(norm, x):
        made = norm(conv_without_bias(conv, x), residual, relu=relu, left_out=conv.bias)
    else:
        made = norm(conv(x), residual, relu=relu)
    return made


def takes_bias(norm: nn.Module, x: Tensor) -> bool:
    """Need a convolution of x before this norm not add its bias? On a GPU that is a pass over memory of its own."""
    return isinstance(norm, RowNorm) and norm.training and runs_fused_norm(x)


def conv_without_bias(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


def finish(y: Tensor, residual: Tensor | None, *, relu: bool) -> Tensor:
    """y + residual, not below 0 with `relu`; in place: a norm keeps its input, not its output."""
    if residual is not None:
        y = y.add_(residual)
    return F.relu(y, inplace=True) if relu else y


@contextmanager
def formulated_for_gpu() -> Iterator[None]:
    """Do as on a GPU with tensors of any device: for tracing by shapes alone."""
    global _for_gpu
    known, _for_gpu = _for_gpu, True
    try:
        yield
    finally:
        _for_gpu = known


def on_cpu(x: Tensor) -> bool:
    """Is this formulated for a CPU?"""
    return x.device.type == "cpu" and not _for_gpu


def is_quick(x: Tensor) -> bool:
    """Is this where torch's own statistics are slow, and sums over vectors quicker?"""
    return (
        on_cpu(x)
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def row_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each row and channel, (N, C, T, V) → twice (N, C), in float32 at least.

    A narrow type holds no mean that is large against the deviation, so there the difference of squares loses
    nothing that was not lost before; it needs no copy in float32.
    """
    if x.dtype in NARROW:
        mean = x.mean(dim=(2, 3), dtype=torch.float32)
        length = torch.linalg.vector_norm(x, dim=(2, 3), dtype=torch.float32)
        return mean, (length.square() / x[0, 0].numel() - mean.square()).clamp_(min=0)
    if on_cpu(x):
        mean = x.mean(dim=(2, 3))
        centred = x - mean[:, :, None, None]
        return mean, torch.linalg.vector_norm(centred, dim=(2, 3)).square() / x[0, 0].numel()
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0)
    return mean, variance


class _Normalise(torch.autograd.Function):
    """With c_n the count of row n, m_n and v_n its mean and variance:

        mean = Σ c_n m_n / Σ c_n,  variance = Σ c_n (v_n + (m_n − mean)²) / Σ c_n.

    The gradient that comes in is already the sum over what a row stands for, so only the terms that pass
    through the statistics are scaled by c_n.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, row_counts: Tensor | None, count: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            means, variances = row_moments(x)
            size = x.shape[2] * x.shape[3]
            shares = means.new_ones(x.shape[0]) if row_counts is None else row_counts.to(means.dtype)
            shares = shares * (size / count)
            mean = shares @ means
            variance = shares @ (variances + (means - mean).square())
            y = torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)[0]
        ctx.save_for_backward(x, weight, mean, variance, row_counts)
        ctx.eps, ctx.count = eps, count
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, row_counts = ctx.saved_tensors
        scale = (variance + ctx.eps).rsqrt()
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
            grad_x -= pull.mul_(row_counts.view(-1, 1, 1, 1))
        return grad_x, grad_weight, grad_bias, None, None, None
