"""What a report reads of a run folder. Only the scores must be there; the rest is shown where it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcl_cache.store import UserError
from mmcl_cache.store.json_text import parse_json
from mmcl_cache.store.regular import read_regular
from mmcl_train.scores.files import Scores, read_scores
from mmcl_train.scores.metrics import Accuracy, measure_accuracy

LARGEST_BYTES = 1 << 26
_LARGEST = 1e300


@dataclass(frozen=True)
class FinishedRun:
    """One run folder: `scores` are those asked for, `val` the same weights' on val; others are empty where missing."""

    path: Path
    scores: Scores
    val: Scores | None
    accuracy: Accuracy
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    environment: Mapping[str, Any]
    fields: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def kind(self) -> tuple[str, str]:
        """Backbone and stream: runs that differ in nothing else are repetitions."""
        return str(self.scores.about.get("backbone", "")), str(self.scores.about.get("stream", ""))

    @property
    def method(self) -> str:
        known = self.scores.about.get("co_learning")
        return "" if known is None else "co-learning" if known else "skeleton only"

    @property
    def fingerprint(self) -> str:
        return str(self.result.get("fingerprint") or self.scores.about.get("fingerprint", ""))


def read_run(path: Path, which: str = "test-last") -> FinishedRun:
    """Read a run folder.

    Args:
        which: scores to report: test-last, test-best-val …

    Raises:
        UserError: no such folder, no such scores (nothing to show), or a damaged file.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such run folder")
    if not (path / "scores" / f"{which}.npz").is_file():
        there = ", ".join(sorted(file.stem for file in (path / "scores").glob("*.npz")))
        known = (
            f"it has {there}: choose with --which"
            if there
            else "finish it with the same `mmcl-train run`, or give another run"
        )
        raise UserError(f"{path}: nothing to show, this run has no {which} scores; {known}")
    scores = read_scores(path, which)
    if scores.labels is None:
        raise UserError(f"{scores.path}: these scores have no labels, so nothing can be measured")
    val = which.replace("test-", "val-", 1)
    has_val = val != which and (path / "scores" / f"{val}.npz").is_file()
    return FinishedRun(
        path=path,
        scores=scores,
        val=read_scores(path, val) if has_val else None,
        accuracy=measure_accuracy(scores.logits, scores.labels),
        config=_optional_json(path / "config.json"),
        result=_optional_json(path / "result.json"),
        environment=_optional_json(path / "environment.json"),
        fields=_optional_json(path / "fields.json"),
        metrics=_read_metrics(path / "metrics.jsonl"),
    )


def curve(run: FinishedRun, key: str) -> tuple[list[float], list[float]]:
    """Epochs and finite values of one metric; empty where it was never written, or is a loss that was off (zero)."""
    points = [
        (float(record.get("epoch", n + 1)), float(record[key]))
        for n, record in enumerate(run.metrics)
        if _is_number(record.get(key)) and _is_number(record.get("epoch", n + 1))
    ]
    if key.startswith("loss") and not any(value for _, value in points):
        return [], []
    return [epoch for epoch, _ in points], [value for _, value in points]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) < _LARGEST


def _optional_json(path: Path) -> Mapping[str, Any]:
    try:
        value = parse_json(read_regular(path, LARGEST_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable ({error}); restore it") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: a JSON object is expected")
    return value


def _read_metrics(path: Path) -> tuple[Mapping[str, Any], ...]:
    try:
        lines = read_regular(path, LARGEST_BYTES).decode("utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable ({error}); restore it") from None
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            if number == len(lines):  # cut by a kill; the run writes it again when it goes on
                break
            raise UserError(f"{path}: line {number} is not JSON; restore it") from None
        if isinstance(record, dict):
            records.append(record)
    return tuple(records)
