"""Reading others' checkpoint files: tensors and plain values only, nothing in them is ever run."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcl_cache.store import UserError
from mmcl_train.backbones.published import unwrap_checkpoint

# Training frameworks keep a best score beside the weights as a numpy number. These build one, and no more.
_SCALAR = np.float32(0).__reduce__()[0]
NUMPY_NUMBERS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(kind)) for kind in (np.float64, np.float32, np.float16, np.int64, np.int32, np.bool_)},
]
# What torch raises where a file is cut short or is no checkpoint at all, depending on where it notices.
DAMAGE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a .pt or .pth file: plain or wrapped, without `module.` prefixes, on the host.

    Raises:
        UserError: no such file, no checkpoint, one that needs arbitrary pickle, or one without tensors.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint file")
    try:
        with torch.serialization.safe_globals(NUMPY_NUMBERS):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None:
            raise UserError(f"{path}: not a torch checkpoint, or damaged") from None
        raise UserError(
            f"{path}: loading it would run code of the file ({named[1]}), which is never done; where you trust it, "
            "save the weights alone with the code that made it: torch.save(model.state_dict(), FILE)"
        ) from None
    except DAMAGE as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a torch checkpoint, or damaged ({why[:120]})") from None
    try:
        return unwrap_checkpoint(loaded)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
