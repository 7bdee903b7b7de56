"""What the method's authors stored a sample: a text feature `<id>.npy` and a strip `<id>.jpg`, in folders of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mmcl_cache.datasets.tree import add_file, check_source, nothing_found, walk
from mmcl_cache.errors import SampleError
from mmcl_cache.store import npy
from mmcl_cache.store.regular import open_regular, read_regular

LARGEST_PIXELS = 1 << 24
LARGEST_TEXT = 1 << 19
MOST_TOKENS = 4096
LARGEST_STRIP = 1 << 26


def find_published(folder: Path, suffix: str) -> dict[str, Path]:
    """Id → file of every `<id><suffix>` below a folder.

    Args:
        suffix: ".npy" or ".jpg".

    Raises:
        SourceError: no such folder, no such file in it, or two for one id.
    """
    check_source(folder, "import")
    found: dict[str, Path] = {}
    for entry in walk(folder):
        if entry.name.lower().endswith(suffix):
            add_file(found, entry.name[: -len(suffix)], entry.path, suffix)
    if not found:
        raise nothing_found(folder, "import", f"<sample id>{suffix} files")
    return found


def read_published_text(path: Path) -> NDArray[Any]:
    """One text feature, (L,): whole numbers are token ids and come as int32, others are a hidden state, float32.

    A leading axis of length 1, as a model's batch of one leaves it, is dropped.

    Raises:
        SampleError: no such file, damaged, no numbers, or another shape.
    """
    try:
        with open_regular(path) as stream:
            array = npy.read_array(stream, LARGEST_TEXT)
    except OSError as error:
        raise SampleError(f"{path}: cannot be read: {error.strerror}") from None
    except npy.DAMAGE as error:
        raise SampleError(f"{path}: not a readable .npy file ({error})") from None
    if array.dtype.kind not in "fiu":
        raise SampleError(f"{path}: holds {array.dtype}, expected numbers")
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 1 or array.size == 0:
        raise SampleError(f"{path}: of shape {array.shape}, expected one row of numbers")
    if not (np.abs(array.astype(np.float64)) <= np.finfo(np.float32).max).all():
        raise SampleError(f"{path}: holds values that are not finite")
    if (array != np.rint(array)).any() or np.abs(array.astype(np.float64)).max() >= 2**31:
        return array.astype(np.float32)
    if array.size > MOST_TOKENS:
        raise SampleError(f"{path}: {array.size} tokens; no answer is so long")
    return array.astype(np.int32)


def read_published_strip(path: Path) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a strip as they are, and its width and height in pixels, after decoding it once.

    Raises:
        SampleError: no such file, no JPEG, cut short, or far too large.
    """
    try:
        data = read_regular(path, LARGEST_STRIP)
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.width * image.height > LARGEST_PIXELS:
                raise SampleError(f"{path}: {image.width}×{image.height} pixels; no strip is so large")
            image.load()
            return data, image.size
    except UnidentifiedImageError:
        raise SampleError(f"{path}: not a JPEG image") from None
    except (OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise SampleError(f"{path}: cannot be read ({error})") from None
