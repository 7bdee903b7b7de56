"""Skeleton files in, `Bodies` out: one reader a file format, and the published denoising."""

from __future__ import annotations

from mmcl_cache.skeletons.bodies import Bodies

__all__ = ["Bodies"]
