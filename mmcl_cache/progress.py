"""How far a long piece of work of this stage is; the same boards as everywhere."""

from __future__ import annotations

from mmcl_cache.terminal.board import ProgressBoard, StageProgress

__all__ = ["ProgressBoard", "StageProgress"]
