"""Temporal convolutions over (N, C, T, V): the plain unit, and the multi-scale one of many branches."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_train.backbones.initialise import init_conv_fan_out, init_conv_splits, init_norm_normal
from mmcl_train.backbones.norm import RowNorm, conv_without_bias, finish, normed_conv, takes_bias
from mmcl_train.backbones.published import KeyRule


class TemporalConv(nn.Module):
    """k×1 convolution over time and batch norm, no activation; keeps T (ceil(T / stride))."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 9,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.conv = temporal_conv2d(in_channels, out_channels, kernel, stride, dilation)
        self.norm = RowNorm(out_channels)

    def forward(self, x: Tensor, residual: Tensor | None = None, *, relu: bool = False) -> Tensor:
        """(N, C, T, V) → (N, C', T', V); then + residual and ReLU, where asked."""
        return normed_conv(self.conv, self.norm, x, residual, relu=relu)


def temporal_conv2d(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, dilation: int = 1, *, bias: bool = True
) -> nn.Conv2d:
    """A k×1 convolution whose padding keeps T."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        (kernel, 1),
        stride=(stride, 1),
        padding=(dilation * (kernel - 1) // 2, 0),
        dilation=(dilation, 1),
        bias=bias,
    )


def activate(x: Tensor, slope: float = 0.0) -> Tensor:
    """ReLU, or leaky ReLU with a slope, in place: norms and sums keep their inputs, not their outputs."""
    return F.leaky_relu(x, slope, inplace=True) if slope else F.relu(x, inplace=True)


def pool_frames(x: Tensor, stride: int) -> Tensor:
    """Maximum of a frame and its two neighbours, every `stride` frames: (N, C, T, V) → (N, C, ceil(T / stride), V).

    To torch's pool the joints are shown as channels that lie innermost: then it compares whole vectors of
    them on a CPU, not one value at a time.
    """
    n, c, _, v = x.shape
    pooled = F.max_pool2d(x.flatten(0, 1).unsqueeze(2).permute(0, 3, 1, 2), (3, 1), (stride, 1), (1, 0))
    return pooled.permute(0, 2, 3, 1).reshape(n, c, -1, v)


class MultiScaleTemporalConv(nn.Module):
    """Parallel temporal branches, concatenated: dilated convolutions, a max pool, a point (1×1).

    As published every branch begins with its own 1×1 convolution and batch norm. Here the 1×1s are one
    convolution, the norms behind them one norm, and the norms at the branches' ends one norm over the
    concatenation: the same function with a third of the passes over memory.

    Source: MS-G3D (arXiv:2003.14111) section 3.4 as slimmed by CTR-GCN (arXiv:2107.12213) section 3.4;
    pyskl's `mstcn` is the same without the norms at the ends (`end_norm=False`) and with uneven `sizes`.

    Args:
        in_channels: C.
        sizes: output channels of each branch: one per entry of `kernels`, then max, then point.
        kernels: (kernel, dilation) of each dilated branch.
        stride: of every branch, along T.
        max_branch, point_branch: whether these branches are there.
        end_norm: batch norm at the end of every branch.
        slope: of the activation after the 1×1s below zero; 0 is a ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        sizes: Sequence[int],
        kernels: Sequence[tuple[int, int]],
        stride: int = 1,
        *,
        max_branch: bool = True,
        point_branch: bool = True,
        end_norm: bool = True,
        slope: float = 0.0,
    ) -> None:
        super().__init__()
        if len(sizes) != len(kernels) + max_branch + point_branch:
            raise ValueError(f"{len(sizes)} branch sizes for {len(kernels)} kernels, max and point")
        self.sizes = list(sizes)
        self.stride = stride
        self.slope = slope
        self.max_branch = max_branch
        self.point_size = sizes[-1] if point_branch else 0
        self.head_size = sum(sizes) - self.point_size
        self.reduce = nn.Conv2d(in_channels, sum(sizes), 1)
        self.reduce_norm = RowNorm(self.head_size)
        self.convs = nn.ModuleList(
            self.create_conv(size, kernel, dilation, stride)
            for size, (kernel, dilation) in zip(sizes, kernels, strict=False)
        )
        self.norm = RowNorm(sum(sizes)) if end_norm else nn.Identity()

    def create_conv(self, size: int, kernel: int, dilation: int, stride: int) -> nn.Module:
        """The temporal part of a dilated branch, without norm; a subclass may have another."""
        return temporal_conv2d(size, size, kernel, stride, dilation)

    def forward(self, x: Tensor, residual: Tensor | None = None, *, relu: bool = False) -> Tensor:
        """(N, C, T, V) → (N, sum(sizes), ceil(T / stride), V); then + residual and ReLU, where asked."""
        bare = takes_bias(self.reduce_norm, x) and takes_bias(self.norm, x) and self._has_plain_convs()
        head, point = self._reduce(x, None if bare else self.reduce.bias)
        left_out = {"left_out": self._bias(slice(self.head_size))} if bare else {}
        head = self.reduce_norm(head, relu=not self.slope, **left_out)
        if self.slope:
            head = activate(head, self.slope)
        parts = head.split(self.sizes[: len(self.convs) + self.max_branch], dim=1)
        convs = zip(self.convs, parts, strict=False)
        out = [
            conv_without_bias(conv, part) if bare and isinstance(conv, nn.Conv2d) else conv(part)
            for conv, part in convs
        ]
        if self.max_branch:
            out.append(pool_frames(parts[-1], self.stride))
        if point is not None:
            out.append(point)
        joined = torch.cat(out, dim=1)
        if isinstance(self.norm, nn.Identity):
            return finish(joined, residual, relu=relu)
        left_out = {"left_out": self._end_bias()} if bare else {}
        made: Tensor = self.norm(joined, residual, relu=relu, **left_out)
        return made

    def init_fan_out(self) -> None:
        """He-normal by each branch's own fan-out, norms N(1, 0.02²), as MS-G3D and CTR-GCN begin."""
        init_conv_splits(self.reduce, self.sizes)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                init_norm_normal(module)
            elif isinstance(module, nn.Conv2d) and module is not self.reduce:
                init_conv_fan_out(module)

    def _reduce(self, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        sizes = [self.head_size, self.point_size]
        if not self.point_size:
            return F.conv2d(x, self.reduce.weight, bias), None
        if self.stride == 1:
            head, point = F.conv2d(x, self.reduce.weight, bias).split(sizes, dim=1)
            return head, point
        # The point branch only looks at every stride-th frame: do not compute the others.
        weight, biases = self.reduce.weight.split(sizes), (None, None) if bias is None else bias.split(sizes)
        return F.conv2d(x, weight[0], biases[0]), F.conv2d(x[:, :, :: self.stride], weight[1], biases[1])

    def _has_plain_convs(self) -> bool:
        return all(isinstance(conv, nn.Conv2d) and conv.bias is not None for conv in self.convs)

    def _bias(self, channels: slice) -> Tensor:
        assert self.reduce.bias is not None
        return self.reduce.bias[channels]

    def _end_bias(self) -> Tensor:
        """Of the convolutions before the norm at the end, in the order of the branches; the pool has none."""
        biases = [conv.bias for conv in self.convs if isinstance(conv, nn.Conv2d) and conv.bias is not None]
        if self.max_branch:
            biases.append(self._bias(slice(0)).new_zeros(self.sizes[len(self.convs)]))
        return torch.cat([*biases, self._bias(slice(self.head_size, None))])


def even_sizes(channels: int, branches: int) -> list[int]:
    """Equal branch sizes; ValueError where `channels` does not divide."""
    if channels % branches:
        raise ValueError(f"{channels} channels do not divide into {branches} branches")
    return [channels // branches] * branches


def first_takes_rest(channels: int, branches: int) -> list[int]:
    """pyskl's split: all branches channels // branches, the first takes what is left over."""
    size = channels // branches
    return [channels - size * (branches - 1)] + [size] * (branches - 1)


def norm_rules(ours: str, published: str) -> tuple[KeyRule, ...]:
    """Every tensor of one layer (norm, convolution, linear), copied."""
    leaf = re.compile(ours).groups + 1
    return (KeyRule(rf"{ours}\.(\w+)", rf"{published}.\{leaf}"),)


def temporal_rules(ours: str, published: str, conv: str = "conv", norm: str = "bn") -> tuple[KeyRule, ...]:
    """`TemporalConv`'s tensors; `conv` and `norm` are the published names of its layers."""
    return (
        *norm_rules(rf"{ours}\.conv", f"{published}.{conv}"),
        *norm_rules(rf"{ours}\.norm", f"{published}.{norm}"),
    )


def multi_scale_rules(
    ours: str,
    published: str,
    num_convs: int,
    *,
    max_branch: bool = True,
    point_branch: bool = True,
    end_norm: bool = True,
    conv: str = "3.conv",
    conv_norm: str = "3.bn",
    max_norm: str = "4",
    point_conv: str = "0",
    point_norm: str = "1",
) -> tuple[KeyRule, ...]:
    """`MultiScaleTemporalConv`'s tensors from published branches `{published}.{branch}.{layer}`.

    Every branch but the point is `0` (1×1), `1` (norm), activation, then `conv` or the pool. pyskl's
    point branch is a bare convolution, `point_conv=""`.
    """
    leaf = rf".\{re.compile(ours).groups + 1}"
    head = num_convs + max_branch

    def name(branch: int, layer: str) -> str:
        return f"{published}.{branch}" + (f".{layer}" if layer else "") + leaf

    reduce = [name(b, "0") for b in range(head)] + [name(head, point_conv)] * point_branch
    ends = [name(b, conv_norm) for b in range(num_convs)]
    ends += [name(num_convs, max_norm)] * max_branch + [name(head, point_norm)] * point_branch
    made = [
        KeyRule(rf"{ours}\.reduce\.(\w+)", tuple(reduce), "cat"),
        KeyRule(rf"{ours}\.reduce_norm\.(\w+)", tuple(name(b, "1") for b in range(head)), "cat"),
    ]
    made += [KeyRule(rf"{ours}\.convs\.{b}\.(\w+)", name(b, conv)) for b in range(num_convs)]
    if end_norm:
        made.append(KeyRule(rf"{ours}\.norm\.(\w+)", tuple(ends), "cat"))
    return tuple(made)
