"""JSON files of skeletons, which may come from a stranger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmcl_cache.errors import SampleError
from mmcl_cache.store.json_text import parse_json
from mmcl_cache.store.regular import read_regular

LARGEST_BYTES = 1 << 26


def read_json_file(path: Path, largest: int = LARGEST_BYTES) -> Any:
    """The value in a file.

    Args:
        largest: bytes.

    Raises:
        SampleError: no such file, not a regular one, too large, not JSON, or nested too deep.
    """
    try:
        return parse_json(read_regular(path, largest))
    except OSError as error:
        raise SampleError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SampleError(f"{path}: not JSON, or cut short ({error}); get the file again") from None
