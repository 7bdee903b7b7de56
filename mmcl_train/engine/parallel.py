"""Several processes: gathering with gradients, sums over processes, and batch norm over the global batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmcl_train.backbones.norm import finish


def num_processes() -> int:
    """Processes that train together; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first_process() -> bool:
    """The one that writes and speaks."""
    return num_processes() == 1 or dist.get_rank() == 0


def gather_rows(rows: Tensor) -> Tensor:
    """(n, …) of each process → (n · processes, …) in process order, with gradients to the process each row came from.

    Every process computes the same loss on the result; the gradient of a row is summed over these, and
    DistributedDataParallel's mean over processes makes it the gradient of that one loss again.
    """
    if num_processes() == 1:
        return rows
    if rows.dtype == torch.bool:
        return gather_rows(rows.to(torch.uint8)).bool()
    if not rows.requires_grad:
        parts = [torch.empty_like(rows) for _ in range(num_processes())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)
    gathered: Tensor = _GatherRows.apply(rows)
    return gathered


def sum_processes(values: Tensor) -> Tensor:
    """The sum over processes, without gradients."""
    if num_processes() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def any_process(flag: bool, device: torch.device) -> bool:
    """Is it true in any process. Waits for the others."""
    if num_processes() == 1:
        return flag
    return bool(sum_processes(torch.tensor(float(flag), device=device)) > 0)


def share_buffers(module: nn.Module) -> None:
    """Give every process the first one's buffers (running statistics), so that all measure the same model."""
    if num_processes() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def close_processes() -> None:
    """Wait for the others and leave the process group, at the end of a command."""
    if num_processes() > 1:
        dist.barrier()
        dist.destroy_process_group()


class GlobalBatchNorm(nn.Module):
    """Batch norm with the statistics of all processes' rows, on any device (torch's SyncBatchNorm needs CUDA).

    Takes over the parameters and buffers of the norm it stands for, under the same names. Rows must be equally
    many in every process.

    Args:
        norm: a BatchNorm1d, 2d or 3d with running statistics.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.eps, self.momentum = norm.eps, norm.momentum
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)
        self.register_buffer("num_batches_tracked", norm.num_batches_tracked)

    def forward(self, x: Tensor, residual: Tensor | None = None, *, relu: bool = False) -> Tensor:
        """(N, C, …) → the same shape: norm(x) + residual, not below 0 with `relu`."""
        return finish(self._normalise(x), residual, relu=relu)

    def _normalise(self, x: Tensor) -> Tensor:
        if not self.training:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        wide = x if x.dtype == torch.float64 else x.float()
        mean = _mean_processes(wide.mean(dim=axes))
        centred = wide - mean.view(shape)
        variance = _mean_processes(centred.square().mean(dim=axes))
        count = x.numel() / x.shape[1] * num_processes()
        self._track(mean.detach(), variance.detach() * count / max(count - 1, 1))
        scale = torch.rsqrt(variance + self.eps).view(shape)
        normed = centred * scale
        if self.weight is not None:
            normed = normed * self.weight.view(shape) + self.bias.view(shape)
        return normed.to(x.dtype)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def use_global_batchnorm(module: nn.Module) -> nn.Module:
    """Replace every batch norm inside by one over all processes; state-dict names stay."""
    if isinstance(module, _BatchNorm):
        return GlobalBatchNorm(module)
    for name, child in module.named_children():
        replaced = use_global_batchnorm(child)
        if replaced is not child:
            setattr(module, name, replaced)
    return module


def _mean_processes(values: Tensor) -> Tensor:
    """Mean over processes, with gradients."""
    if num_processes() == 1:
        return values
    summed: Tensor = _Sum.apply(values)
    return summed / num_processes()


class _GatherRows(torch.autograd.Function):
    """Rows of all processes; a row's gradient is the sum of all processes' gradients of it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        parts = [
            torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(num_processes())
        ]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        return summed.narrow(0, dist.get_rank() * ctx.count, ctx.count)


class _Sum(torch.autograd.Function):
    """Sum over processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        return summed
