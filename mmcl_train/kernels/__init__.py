"""Kernels of our own, each with a plain equal: the graph product of CTR-GCN.

Norm, residual and ReLU are not here: torch.compile (`train.compile=true`) fuses them by itself.
"""

from __future__ import annotations

from .choice import KERNELS, describe_kernels, fused_anywhere, graph_product, runs_fused, set_kernels

__all__ = [
    "KERNELS",
    "describe_kernels",
    "fused_anywhere",
    "graph_product",
    "runs_fused",
    "set_kernels",
]
