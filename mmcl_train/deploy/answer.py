"""Predictions as lines: JSON for programs, a table for people."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .prediction import Prediction


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """(classes,) → probabilities."""
    powers = np.exp(logits.astype(np.float64) - float(logits.max()))
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares


def rank(prediction: Prediction, classes: tuple[str, ...], top: int) -> list[tuple[int, str, float]]:
    """(label, class, probability) of the `top` likeliest classes, best first; empty without logits."""
    if prediction.logits is None:
        return []
    shares = softmax(prediction.logits)
    order = np.argsort(-shares, kind="stable")[:top]
    return [(int(label), classes[label], float(shares[label])) for label in order]


def format_json(prediction: Prediction, classes: tuple[str, ...], top: int, logits: bool = False) -> str:
    """One line: input, frames, label, class, probability and the top classes; or input and reason."""
    line: dict[str, Any] = {"input": prediction.name, "start": prediction.start, "stop": prediction.stop}
    ranked = rank(prediction, classes, top)
    if not ranked:
        return json.dumps({**line, "label": None, "reason": prediction.reason}, ensure_ascii=False)
    label, name, share = ranked[0]
    line |= {"label": label, "class": name, "probability": round(share, 6)}
    line["top"] = [{"label": n, "class": c, "probability": round(p, 6)} for n, c, p in ranked]
    if logits and prediction.logits is not None:
        line["logits"] = prediction.logits.tolist()
    return json.dumps(line, ensure_ascii=False)


def format_row(prediction: Prediction, classes: tuple[str, ...], top: int) -> str:
    """One line of the table: name, frames, and the top classes with probabilities."""
    head = f"{prediction.name}  {prediction.start:>5}–{prediction.stop:<5}"
    ranked = rank(prediction, classes, top)
    if not ranked:
        return f"{head}  – {prediction.reason}"
    return head + "  " + "   ".join(f"{share:6.1%} {name}" for _, name, share in ranked)
