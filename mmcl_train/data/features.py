"""Text and RGB columns of a cache as one matrix each: what Φ and M_align read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mmcl_cache.store import Columns, Field, MissingFieldError, UserError


@dataclass(frozen=True)
class FeatureMatrix:
    """values: (N, D) float16 or float32, zeros where not valid. valid: (N,) bool."""

    values: np.ndarray
    valid: np.ndarray

    @property
    def width(self) -> int:
        return self.values.shape[1]


def token_features(columns: Columns) -> np.ndarray:
    """Token ids as floats: begin, answer, separator, the published input of the released code.

    Every question gets the shortest width that holds all its answers, begin and separator included (3 for yes
    and no); shorter answers end in the pad ids they are stored with. Questions stand side by side.

    Raw ids are large: at the start Φ's softmax is saturated and the same for yes and no with 972 of 1,000 seeds,
    so that no gradient reaches Φ and the answer decides nothing. `choices` and `hidden` do not have this.

    Returns:
        (N, Σ widths) float32: ids of up to 30,522 are not exact in half precision.
    """
    tokens, counts = columns["tokens"], columns["token_count"]
    widest = counts[columns.valid].max(axis=0)
    parts = [tokens[:, question, :width] for question, width in enumerate(widest.tolist())]
    return np.concatenate(parts, axis=1).astype(np.float32)


def choice_features(columns: Columns) -> np.ndarray:
    """(N, Q·A) float32 probabilities of the offered answers."""
    return columns["choice_prob"].reshape(len(columns), -1).astype(np.float32)


def hidden_mean_features(columns: Columns) -> np.ndarray:
    """(N, Q·D) float16: the decoder's last layer, mean over the answer's tokens (BLIP-base: 768 a question)."""
    return columns["hidden_mean"].reshape(len(columns), -1)


def hidden_last_features(columns: Columns) -> np.ndarray:
    """(N, Q·D) float16: the decoder's last layer at the answer's last token."""
    return columns["hidden_last"].reshape(len(columns), -1)


@dataclass(frozen=True)
class TextFeature:
    columns: tuple[str, ...]
    take: Callable[[Columns], np.ndarray]


TEXT_FEATURES: dict[str, TextFeature] = {
    "tokens": TextFeature(("tokens", "token_count"), token_features),
    "choices": TextFeature(("choice_prob",), choice_features),
    "hidden": TextFeature(("hidden_mean",), hidden_mean_features),
    "hidden_last": TextFeature(("hidden_last",), hidden_last_features),
}

RGB_FEATURES: dict[str, str] = {"logits": "logits", "pooled": "pooled"}  # name → column


def load_text(field: Field, sample_ids: np.ndarray, feature: str) -> FeatureMatrix:
    """A text field of these samples as one matrix.

    Raises:
        ValueError: unknown feature.
        UserError: the field has no such column, none of its rows is usable, or the feature is empty.
    """
    if feature not in TEXT_FEATURES:
        raise ValueError(f"unknown text feature {feature!r}; known: {', '.join(TEXT_FEATURES)}")
    chosen = TEXT_FEATURES[feature]
    _check_there(field, feature, {name: each.columns for name, each in TEXT_FEATURES.items()}, "text")
    columns = field.load(sample_ids, chosen.columns)
    _check_usable(field, columns)
    return _masked(columns, chosen.take(columns))


def load_rgb(field: Field, sample_ids: np.ndarray, feature: str) -> FeatureMatrix:
    """An rgb field of these samples as one matrix. Raises as `load_text` does."""
    if feature not in RGB_FEATURES:
        raise ValueError(f"unknown rgb feature {feature!r}; known: {', '.join(RGB_FEATURES)}")
    column = RGB_FEATURES[feature]
    _check_there(field, feature, {name: (each,) for name, each in RGB_FEATURES.items()}, "rgb")
    columns = field.load(sample_ids, (column,))
    _check_usable(field, columns)
    return _masked(columns, columns[column])


def _check_usable(field: Field, columns: Columns) -> None:
    if columns.valid.any():
        return
    why = columns.reasons[0] if len(columns) else ""
    raise UserError(
        f"{field.name}: none of the {len(columns)} training samples has a usable row ({why or 'no reason kept'}); "
        "see `mmcl-cache status`, or train without co-learning (--no-mmcl)"
    )


def _check_there(field: Field, feature: str, needed: Mapping[str, tuple[str, ...]], modality: str) -> None:
    """Raise MissingFieldError where the feature's columns are not there or hold nothing, naming what the field has."""
    filled = {column.name for column in field.columns if 0 not in column.shape}
    there = [name for name, columns in needed.items() if filled.issuperset(columns)]
    if feature not in there:
        advice = f"--set data.{modality}_feature={there[0]}" if there else "build the field again"
        raise MissingFieldError(
            f"{field.name} was made without {', '.join(needed[feature])}, which the feature {feature!r} is; it has "
            f"{', '.join(there) or 'no feature at all'}: {advice}"
        )


def _masked(columns: Columns, values: np.ndarray) -> FeatureMatrix:
    """The matrix of what was loaded for this alone: rows that are not ok are set to zeros where they are."""
    valid = columns.valid
    values[~valid] = 0
    return FeatureMatrix(values, valid)
