"""Which graph product and which norms run: the fused kernels on a GPU, else plain tensor operations."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from mmcl_cache.store import UserError

from .plain import plain_graph_product
from .trial import find_norm_fault, find_product_fault

KERNELS = ("auto", "plain", "triton")
FUSED_TYPES = (torch.float32, torch.bfloat16, torch.float16)
MOST_JOINTS = 64  # a tile of more would not fit the registers

_interpreted = (
    os.environ.get("TRITON_INTERPRET") == "1"
)  # Triton's own switch: kernels run on the CPU, slowly
# Importing triton takes a quarter of a second; a torch without CUDA has no use for it.
_has_triton = (torch.version.cuda is not None or _interpreted) and (
    importlib.util.find_spec("triton") is not None
)
if _has_triton:
    from .fused import fused_graph_product
    from .fused_norm import fused_norm

_anywhere = _interpreted  # whatever the device
_chosen = "auto"
_faults = {"graph product": "", "norms": ""}  # what a trial of the fused kernels found


def set_kernels(name: str, device: torch.device | None = None) -> None:
    """Choose for this process: `auto` (fused where it can run), `plain`, or `triton`.

    With a `device` that the fused kernels would run on they are tried there first, against the plain operations;
    where they fail or disagree, `auto` is plain.

    Raises:
        ValueError: unknown name.
        UserError: `triton` where it cannot run.
    """
    global _chosen
    if name not in KERNELS:
        raise ValueError(f"unknown kernels {name!r}; known: {', '.join(KERNELS)}")
    _faults.update(dict.fromkeys(_faults, ""))
    if name != "plain" and device is not None and not find_obstacle(device):
        _faults["graph product"] = find_product_fault(fused_graph_product, device)
        _faults["norms"] = find_norm_fault(fused_norm, device)
    why = find_obstacle(device or torch.device("cuda")) or next(filter(None, _faults.values()), "")
    if name == "triton" and why:
        raise UserError(f"train.kernels is triton: {why}; use --set train.kernels=auto")
    _chosen = name


def find_obstacle(device: torch.device) -> str:
    """Why the fused kernels cannot run for tensors there; "" where they can."""
    if _interpreted and _has_triton:
        return ""
    if device.type != "cuda" or not torch.cuda.is_available():
        return "no CUDA device"
    if not _has_triton:
        return "triton is not installed"
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < (8, 0):
        return "the GPU is older than compute capability 8.0"
    return ""


def describe_kernels(device: torch.device) -> str:
    """What runs on a device, in one line for the log."""
    general = "train.kernels" if _chosen == "plain" else find_obstacle(device)
    if general:
        return f"graph product, norms: plain ({general})"
    return "; ".join(f"{what}: plain ({why})" if why else f"{what}: triton" for what, why in _faults.items())


def runs_fused(values: Tensor) -> bool:
    """Will `graph_product` of these values (N, K·C, T, V) use the fused kernels?"""
    return _may_fuse(values, "graph product") and values.shape[-1] <= MOST_JOINTS


def runs_fused_norm(x: Tensor) -> bool:
    """Will a norm of (N, C, T, V) in training use the fused kernels? Not where channels lie innermost."""
    return _may_fuse(x, "norms") and x[0, 0].is_contiguous()


def _may_fuse(values: Tensor, what: str) -> bool:
    if _chosen == "plain" or _faults[what] or not _has_triton or not (values.is_cuda or _anywhere):
        return False
    return values.dtype in FUSED_TYPES and values.numel() > 0


@contextmanager
def fused_anywhere() -> Iterator[None]:
    """Choose as on a CUDA device for tensors of any: for tracing by shapes alone, where no program is launched.

    Raises:
        UserError: triton is not installed.
    """
    global _has_triton, _anywhere, fused_graph_product, fused_norm
    if importlib.util.find_spec("triton") is None:
        raise UserError("triton is not installed")
    known = _has_triton, _anywhere
    fused_graph_product = importlib.import_module(".fused", __package__).fused_graph_product
    fused_norm = importlib.import_module(".fused_norm", __package__).fused_norm
    _has_triton = _anywhere = True
    try:
        yield
    finally:
        _has_triton, _anywhere = known


def graph_product(
    query: Tensor,
    key: Tensor,
    weight: Tensor,
    bias: Tensor,
    alpha: Tensor,
    adjacency: Tensor,
    values: Tensor,
) -> Tensor:
    """y[n, c, t, u] = Σ_k Σ_v values[n, k·C + c, t, v] · topology[n, k, c, v, u], where

        topology = alpha · (weight @ tanh(query_u − key_v) + bias) + adjacency.

    The fused kernels never write the topologies (N, K, C, V, V) nor their gradient to memory. Their sums are in
    float32 and in a fixed order: the same inputs give the same bits.

    Source: CTR-GCN (arXiv:2107.12213), equations 5 to 8, from-joint first.

    Args:
        query, key: (N, K, R, V), the mean over time taken.
        weight, bias: (K, C, R), (K, C), of the refinement.
        alpha: one element.
        adjacency: (K, V from, V to).
        values: (N, K·C, T, V).

    Returns:
        (N, C, T, V), of the values' type.
    """
    if runs_fused(values):
        made: Tensor = fused_graph_product(query, key, weight, bias, alpha, adjacency, values)
        return made
    return plain_graph_product(query, key, weight, bias, alpha, adjacency, values)


def normalise(
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
    """relu(weight · (x − mean) / √(variance + eps) + bias + residual), its mean and variance, by the fused kernels.

    Only where `runs_fused_norm` says so; what they compute and their arguments: `plain.plain_norm`. `left_out` (C,)
    changes none of it, and gets the gradient of a bias before a norm: zero.
    """
    made: tuple[Tensor, Tensor, Tensor] = fused_norm(
        x, weight, bias, residual, row_counts, total, eps, relu, left_out
    )
    return made
