"""What a finished run prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcl_cache.terminal.clock import format_seconds

LABELS = {
    "test-last": "test, last epoch",
    "test-best-val": "test, epoch best on val",
    "test-best-test": "test, epoch best ON TEST (chosen by its own answer, not comparable)",
    "val-last": "val, last epoch",
    "val-best-val": "val, epoch best on val",
}


def format_result(result: Mapping[str, Any], folder: Path) -> str:
    """Lines of accuracies and of what was written where."""
    method = "co-learning" if result["co_learning"] else "skeleton only"
    lines = [
        f"{result['backbone']}, {result['stream']}, {method}, seed {result['seed']}: {result['epochs']} epochs, "
        f"{result['parameters'] / 1e6:.2f} M parameters, {format_seconds(result['seconds'])}"
    ]
    lines += [
        f"  {label + _epoch(name, result):<40} top-1 {100 * value['top1']:6.2f}  top-5 {100 * value['top5']:6.2f}  "
        f"({value['count']} samples)"
        for name, label in LABELS.items()
        if (value := result["accuracy"].get(name))
    ]
    lines.append(f"  {result['val']}")
    lines.append(f"written: {folder} (model.safetensors, model.json, scores/, metrics.jsonl, tensorboard/)")
    return "\n".join(lines)


def _epoch(name: str, result: Mapping[str, Any]) -> str:
    split = name.rsplit("best-", 1)[-1]
    return f" ({result['best_epoch'][split]})" if "best-" in name and split in result["best_epoch"] else ""
