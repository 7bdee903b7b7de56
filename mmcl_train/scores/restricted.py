"""Reader of the field's .pkl score files (a dict: sample name → array of logits) that runs nothing.

A pickle may call any function of any module. This one may build the few things such a file is made of, no more.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.store import UserError

# numpy's own names for rebuilding an array changed with numpy 2; old files carry the old ones.
_RECONSTRUCT = np.ndarray([]).__reduce__()[0]
_SCALAR = np.float32(0).__reduce__()[0]
_FROMBUFFER = np.zeros(1).__reduce_ex__(5)[0]
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("numpy.core.numeric", "_frombuffer"): _FROMBUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROMBUFFER,
    ("collections", "OrderedDict"): dict,
    ("_codecs", "encode"): None,  # filled below: protocol 2 writes bytes as encode(text, "latin1")
}


def _encode_latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError("only latin1 text")
    return text.encode("latin1")


ALLOWED["_codecs", "encode"] = _encode_latin1


class RestrictedUnpickler(pickle.Unpickler):
    """Unpickler of dicts, lists, text, numbers and numeric numpy arrays."""

    def find_class(self, module: str, name: str) -> Any:
        """Raises UnpicklingError for every name that no score file needs."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no score file needs")
        return ALLOWED[module, name]


def read_pickled_scores(path: Path) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    """Sample ids (N,) and logits (N, classes) of a .pkl file: a dict of names to logits, or a list of such pairs.

    Raises:
        UserError: not such a file, or one that asks for more than data.
    """
    try:
        with path.open("rb") as file:
            content = RestrictedUnpickler(file, encoding="latin1").load()
    except (
        pickle.UnpicklingError,
        EOFError,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
        ImportError,
        MemoryError,
        OverflowError,
    ) as error:
        raise UserError(f"{path}: not read as a score file: {error}") from None
    pairs = list(content.items()) if isinstance(content, dict) else content
    try:
        ids = np.array([str(name) for name, _ in pairs])
        logits = np.stack(
            [np.asarray(values).astype(np.float32, casting="same_kind").reshape(-1) for _, values in pairs]
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: not a dict of sample names to logits: {error}") from None
    return ids, logits
