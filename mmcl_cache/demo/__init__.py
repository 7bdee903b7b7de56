"""The demo data set: generated clips of a drawn figure, in NTU's own file formats."""

from __future__ import annotations

from mmcl_cache.demo.generate import generate_demo

__all__ = ["generate_demo"]
