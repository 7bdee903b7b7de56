"""Reading others' checkpoint files: tensors and plain values only, nothing in them is ever run."""

from __future__ import annotations

import re
import struct
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from mmcl_cache.store import UserError, npy
from mmcl_cache.store.regular import open_regular
from mmcl_train.backbones.published import unwrap_checkpoint

PICKLE, ZIP = b"\x80", b"PK"
LARGEST_TENSOR = 1 << 30  # numbers


class NumberType:
    """Stands for numpy's type of a number, of which nothing is needed."""

    def __init__(self, *ignored: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def skip_number(*ignored: Any) -> None:
    """Stands for what builds a numpy number: a best score beside the weights, of which nothing is needed."""


# numpy's own functions for rebuilding would take a stranger's word for how a type lies in memory.
NUMPY_NUMBERS: list[Any] = [
    (skip_number, "numpy.core.multiarray.scalar"),
    (skip_number, "numpy._core.multiarray.scalar"),
    (NumberType, "numpy.dtype"),
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
    MemoryError,
    RecursionError,
    zipfile.BadZipFile,
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
        check_archive(path)
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
        state = unwrap_checkpoint(loaded)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    for name, tensor in state.items():
        # A tensor may show one number a million times, or the same numbers under many names.
        if tensor.layout != torch.strided or tensor.numel() > min(LARGEST_TENSOR, 2 * path.stat().st_size):
            raise UserError(f"{path}: {str(name)[:60]!r} is no tensor that weights are saved as")
    return state


def check_archive(path: Path) -> None:
    """Raises an error of `DAMAGE` for what torch does not write: no zip and no pickle, or a zip that grows."""
    with open_regular(path) as stream:
        begin = stream.read(2)
    if begin[:1] == PICKLE:
        return
    if begin != ZIP:
        raise ValueError("neither torch's archive nor its older form")
    with npy.open_archive(path) as archive:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise ValueError("it is compressed, which torch never does")
