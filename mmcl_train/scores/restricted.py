"""Reader of the field's .pkl score files (a dict: sample name → array of logits) that runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.store import UserError
from mmcl_cache.store.plain_pickle import read_plain_pickle


def read_pickled_scores(path: Path) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    """Sample ids (N,) and logits (N, classes) of a .pkl file: a dict of names to logits, or a list of such pairs.

    Raises:
        UserError: not such a file, or one that asks for more than data.
    """
    content = read_plain_pickle(path)
    pairs = list(content.items()) if isinstance(content, dict) else content
    try:
        ids = np.array([_text(name) for name, _ in pairs])
        logits = np.stack([_row(values) for _, values in pairs])
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: not a dict of sample names to logits: {error}") from None
    return ids, logits


def _text(name: Any) -> str:
    if isinstance(name, bytes):
        return name.decode("utf-8")
    if not isinstance(name, str | int):
        raise TypeError(f"a name is a {type(name).__name__}")
    return str(name)


def _row(values: Any) -> NDArray[np.float32]:
    # Lists in lists may share their parts and be without end as arrays.
    if isinstance(values, list | tuple) and not all(isinstance(value, int | float) for value in values):
        raise TypeError("logits are no numbers")
    return np.asarray(values).astype(np.float32, casting="same_kind").reshape(-1)
