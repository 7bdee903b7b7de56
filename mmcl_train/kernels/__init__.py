"""Kernels of our own, each with a plain equal: the graph product of CTR-GCN, and norm, residual and ReLU in one."""

from __future__ import annotations

from .choice import (
    KERNELS,
    describe_kernels,
    fused_anywhere,
    graph_product,
    normalise,
    runs_fused,
    runs_fused_norm,
    set_kernels,
)

__all__ = [
    "KERNELS",
    "describe_kernels",
    "fused_anywhere",
    "graph_product",
    "normalise",
    "runs_fused",
    "runs_fused_norm",
    "set_kernels",
]
