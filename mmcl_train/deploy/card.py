"""The card of a model: what it is, how good, from what data, and what to mind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmcl_train.backbones import BACKBONES
from mmcl_train.engine.model_file import ModelAbout

DATA_TERMS = {
    "ntu60": "NTU RGB+D is given out for academic research only; ask its authors before other use.",
    "ntu120": "NTU RGB+D 120 is given out for academic research only; ask its authors before other use.",
    "nw-ucla": "Northwestern-UCLA is given out for research; ask its authors before other use.",
    "utd-mhad": "UTD-MHAD is free for research with citation.",
    "sysu": "SYSU 3D HOI is given out for research; ask its authors before other use.",
    "demo": "Generated clips, free to use; the model knows drawn people only.",
}
_UNKNOWN = "Mind the terms of the data the model was trained on; weights may be bound by them."


def describe_card(run: Path, about: ModelAbout, name: str) -> str:
    """README.md of an exported model, with the front matter model hubs read.

    Args:
        run: folder of the run; accuracies are taken from its result.json where it has one.
        name: of the export.
    """
    result = _read_result(run)
    lines = [
        "---",
        "library_name: mmcl",
        "tags: [skeleton-action-recognition, graph-convolution]",
        "---",
        "",
        f"# {name}",
        "",
        f"{about.backbone} ({BACKBONES[about.backbone].publication}) on {about.dataset or 'unnamed data'}, "
        f"protocol {about.protocol or 'unknown'}, stream `{about.stream}`, width {about.width:g}.",
        "Input: skeletons only. Trained with MMCL (arXiv:2407.15706): RGB and text were used in training and are not "
        "needed here."
        if about.run.get("co_learning")
        else "Input: skeletons only. Trained without co-learning.",
        "",
        "## Use",
        "",
        "```",
        f"mmcl-train predict FILE --model {name}",
        "```",
        "",
        "## Accuracy",
        "",
        *_accuracy(result),
        "",
        "## Input and output",
        "",
        f"- joints (N, C={about.in_channels}, T={about.clip.length}, V={about.layout.num_joints}, "
        f"M={about.num_bodies}), layout {about.layout.name}, clip transform {about.clip.transform}",
        f"- logits (N, {len(about.classes)})",
        f"- cleaning of raw files: {about.skeleton.get('format', 'the usual one of the layout')}",
        "",
        f"## Classes ({len(about.classes)})",
        "",
        *(f"{label}. {text}" for label, text in enumerate(about.classes)),
        "",
        "## Licence",
        "",
        DATA_TERMS.get(about.dataset, _UNKNOWN),
        "The code that made it is Apache-2.0; state a licence of your own for the weights.",
        "",
        f"Run `{about.run.get('run', '')}`, fingerprint `{about.run.get('fingerprint', '')}`, "
        f"seed {about.run.get('seed', 'unknown')}.",
    ]
    return "\n".join(lines) + "\n"


def _read_result(run: Path) -> dict[str, Any]:
    try:
        value = json.loads((run / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _accuracy(result: dict[str, Any]) -> list[str]:
    """A table of the run's own figures; the weights exported are those of the last epoch."""
    measured = {name: each for name, each in result.get("accuracy", {}).items() if name.endswith("-last")}
    if not measured:
        return ["Not measured: the folder holds no result.json."]
    rows = ["| split | samples | top-1 | top-5 |", "|---|---|---|---|"]
    rows += [
        f"| {name.removesuffix('-last')} | {each['count']} | {100 * each['top1']:.2f} | {100 * each['top5']:.2f} |"
        for name, each in sorted(measured.items())
    ]
    return [*rows, "", f"Last epoch ({result.get('epochs')} epochs); {result.get('val', '')}."]
