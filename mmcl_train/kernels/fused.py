"""The fused graph product as an operation of torch: launched by Triton, differentiable, known to torch.compile.

Needs triton; `choice` imports it only where it can run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from .parts import TILE, count_blocks, shape_parts
from .programs import forward_program, topology_gradient_program, values_gradient_program

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton's own switch, read when it is imported

Shapes = Mapping[str, Any]


def config_of(warps: int, frames: int, **joints: int) -> triton.Config:
    """One tiling to try; `joints` is BLOCK_U of a program that leaves it open."""
    return triton.Config({"BLOCK_T": frames, **joints}, num_warps=warps, num_stages=1)


def prune(configs: Sequence[triton.Config], shapes: Shapes, **_: object) -> list[triton.Config]:
    """Leave out tiles that are longer than the clip; the first is never one."""
    return [config for config in configs if config.kwargs["BLOCK_T"] <= round_up(shapes["T"])]


def round_up(size: int) -> int:
    """The power of two from 16 on that holds `size`."""
    return max(TILE, int(triton.next_power_of_2(size)))


# What the compiler fits into the registers of compute capability 9.0 in bfloat16, but for a few bytes of the longest
# tile; few enough to be tried on the first step. Compiled ahead in a test, and in `pipelines.bench_kernels`.
PRODUCT_CONFIGS = [
    config_of(4, 16, BLOCK_U=16),
    config_of(8, 16, BLOCK_U=32),
    config_of(8, 32, BLOCK_U=16),
    config_of(8, 64, BLOCK_U=16),
]
GRADIENT_CONFIGS = [config_of(16, 16), config_of(8, 16)]


class Launcher:
    """A program with the tilings it chooses from, by size and type, the first time it meets them.

    Interpreted, nothing can be timed: the last tiling is taken.
    """

    def __init__(self, program: Any, configs: list[triton.Config]) -> None:
        self.program, self.configs = program, configs
        self.name: str = program.__name__
        sizes = ["C", "T", "V", "R"]
        self._tuned = triton.autotune(configs, sizes, prune_configs_by={"early_config_prune": prune})(program)

    def launch(self, grid: Callable[[Shapes], tuple[int, ...]], *arguments: object, **fixed: object) -> None:
        """Run over a grid that may depend on the tiling."""
        if INTERPRETED:
            self.program[grid](*arguments, **fixed, **self.configs[-1].kwargs)
        else:
            self._tuned[grid](*arguments, **fixed)


FORWARD = Launcher(forward_program, PRODUCT_CONFIGS)
VALUES_GRADIENT = Launcher(values_gradient_program, PRODUCT_CONFIGS)
TOPOLOGY_GRADIENT = Launcher(topology_gradient_program, GRADIENT_CONFIGS)


def find_precision() -> str:
    """Of products of float32: as torch's own matrix products are allowed, never less than three TF32 passes else."""
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def tile_of(subsets: int) -> dict[str, Any]:
    """What no tiling changes."""
    fixed = {"BLOCK_C": TILE, "BLOCK_V": TILE, "BLOCK_R": TILE}
    return {"SUBSETS": subsets, "PRECISION": find_precision(), **fixed}


def inner_contiguous(relation: Tensor) -> Tensor:
    """(N, K, R, V) of which each sample is one piece: a slice of a larger tensor may stay where it is."""
    return relation if relation[0].is_contiguous() else relation.contiguous()


def sizes_of(query: Tensor, weight: Tensor, values: Tensor) -> tuple[int, int, int, int, int, int]:
    """N, K, C, R, T, V."""
    subsets, channels, relation = weight.shape
    return query.shape[0], subsets, channels, relation, values.shape[2], values.shape[3]


@torch.library.custom_op("mmcl::graph_product", mutates_args=())
def fused_graph_product(
    query: Tensor,
    key: Tensor,
    weight: Tensor,
    bias: Tensor,
    alpha: Tensor,
    adjacency: Tensor,
    values: Tensor,
) -> Tensor:
    """See `graph_product`."""
    n, subsets, channels, relation, frames, joints = sizes_of(query, weight, values)
    query, key = inner_contiguous(query), inner_contiguous(key)
    out = make_out(channels, values)

    FORWARD.launch(
        lambda meta: (
            triton.cdiv(channels, TILE) * triton.cdiv(joints, meta["BLOCK_U"]),
            triton.cdiv(frames, meta["BLOCK_T"]),
            n,
        ),
        *(values, query, key, weight.contiguous(), bias.contiguous(), alpha, adjacency, out),
        *(channels, frames, joints, relation),
        *(*values.stride(), *out.stride(), query.stride(0), key.stride(0), *adjacency.stride()),
        **tile_of(subsets),
    )
    return out


@fused_graph_product.register_fake
def _(
    query: Tensor,
    key: Tensor,
    weight: Tensor,
    bias: Tensor,
    alpha: Tensor,
    adjacency: Tensor,
    values: Tensor,
) -> Tensor:
    return make_out(weight.shape[1], values)


def make_out(channels: int, values: Tensor) -> Tensor:
    """Empty (N, C, T, V) in the memory order of the values."""
    n, _, frames, joints = values.shape
    if values.is_contiguous() or not values.is_contiguous(memory_format=torch.channels_last):
        return values.new_empty((n, channels, frames, joints))
    return torch.empty(
        (n, channels, frames, joints),
        dtype=values.dtype,
        device=values.device,
        memory_format=torch.channels_last,
    )


@torch.library.custom_op("mmcl::graph_product_backward", mutates_args=())
def fused_graph_product_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    weight: Tensor,
    bias: Tensor,
    alpha: Tensor,
    adjacency: Tensor,
    values: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients in the order of `graph_product`'s arguments: a first pass by sample, then sums in a fixed order."""
    n, subsets, channels, relation, frames, joints = sizes_of(query, weight, values)
    query, key = inner_contiguous(query), inner_contiguous(key)
    weight, bias = weight.contiguous(), bias.contiguous()
    blocks = count_blocks(joints)
    made = empty_gradients(query, key, weight, bias, alpha, adjacency, values)
    query_parts, weight_parts, bias_parts, graph_parts = (
        values.new_empty(shape, dtype=torch.float32)
        for shape in shape_parts(n, subsets, channels, relation, joints)
    )
    VALUES_GRADIENT.launch(
        lambda meta: (
            triton.cdiv(channels, TILE) * subsets * blocks,
            triton.cdiv(frames, meta["BLOCK_T"]),
            n,
        ),
        *(gradient, query, key, weight, bias, alpha, adjacency, made[6]),
        *(channels, frames, joints, relation),
        *(*gradient.stride(), *made[6].stride(), query.stride(0), key.stride(0), *adjacency.stride()),
        **tile_of(subsets),
    )
    TOPOLOGY_GRADIENT.launch(
        lambda _: (triton.cdiv(relation, TILE) * subsets * blocks, n),
        *(gradient, values, query, key, weight, alpha),
        *(query_parts, made[1], weight_parts, bias_parts, graph_parts),
        *(channels, frames, joints, relation),
        *(*gradient.stride(), *values.stride(), query.stride(0), key.stride(0)),
        BLOCK_U=round_up(joints),
        **tile_of(subsets),
    )
    weight_sum, bias_sum = weight_parts.sum(dim=0), bias_parts.sum(dim=0)
    made[0].copy_(query_parts.sum(dim=2))
    made[2].copy_(alpha * weight_sum)
    made[3].copy_(alpha * bias_sum)
    # alpha multiplies weight @ tanh(…) + bias, and both sums are of its gradient against these.
    made[4].copy_((weight_sum * weight).sum() + (bias_sum * bias).sum())
    made[5].copy_(graph_parts.sum(dim=0))
    return made


@fused_graph_product_backward.register_fake
def _(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    weight: Tensor,
    bias: Tensor,
    alpha: Tensor,
    adjacency: Tensor,
    values: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return empty_gradients(query, key, weight, bias, alpha, adjacency, values)


def empty_gradients(
    query: Tensor,
    key: Tensor,
    weight: Tensor,
    bias: Tensor,
    alpha: Tensor,
    adjacency: Tensor,
    values: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One of each argument's shape and type; all in plain order but the values', which keep theirs."""
    return (
        query.new_empty(query.shape),
        key.new_empty(key.shape),
        weight.new_empty(weight.shape),
        bias.new_empty(bias.shape),
        alpha.new_empty(alpha.shape),
        adjacency.new_empty(adjacency.shape),
        torch.empty_like(values),
    )


def keep_inputs(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """The inputs alone: the topology is made again in the backward pass."""
    ctx.save_for_backward(*inputs)


def give_gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
    """One backward pass gives all seven."""
    made: tuple[Tensor, ...] = fused_graph_product_backward(gradient, *ctx.saved_tensors)
    return made


fused_graph_product.register_autograd(give_gradients, setup_context=keep_inputs)
