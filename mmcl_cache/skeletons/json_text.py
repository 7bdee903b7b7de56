"""JSON that may come from a stranger, read without giving it more memory than its size is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmcl_cache.errors import SampleError
from mmcl_cache.store.regular import read_regular

LARGEST_BYTES = 1 << 26
# A bracket of two letters becomes 64 bytes of memory; poses have one for each joint, of 20 letters and more.
_FREE_BRACKETS, _BYTES_A_BRACKET = 200_000, 16


def read_json_file(path: Path, largest: int = LARGEST_BYTES) -> Any:
    """The value in a file.

    Args:
        largest: bytes.

    Raises:
        SampleError: no such file, not a regular one, too large, not JSON, or nested too deep.
    """
    try:
        data = read_regular(path, largest)
    except OSError as error:
        raise SampleError(f"{path}: cannot be read: {error.strerror}") from None
    if data.count(b"[") + data.count(b"{") > _FREE_BRACKETS + len(data) // _BYTES_A_BRACKET:
        raise SampleError(f"{path}: nothing but brackets; get the file again")
    try:
        return json.loads(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SampleError(f"{path}: not JSON, or cut short ({error}); get the file again") from None
