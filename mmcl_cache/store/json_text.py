"""JSON that may come from a stranger: bounded memory for its size, and one error type for whatever is wrong with it."""

from __future__ import annotations

import json
from typing import Any

# A bracket of two letters becomes 64 bytes of memory; poses have one for each joint, of 20 letters and more.
_FREE_BRACKETS, _BYTES_A_BRACKET = 200_000, 16


def parse_json(data: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, nested too deep, or almost nothing but brackets; in one line.
    """
    if data.count(b"[") + data.count(b"{") > _FREE_BRACKETS + len(data) // _BYTES_A_BRACKET:
        raise ValueError("almost nothing but brackets")
    try:
        return json.loads(data)
    except (RecursionError, MemoryError):
        raise ValueError("nested too deep") from None


def parse_strict_json(data: bytes) -> Any:
    """The same of a text that a program wrote: no NaN, no infinity, no key twice, no half of a letter.

    Raises:
        ValueError: see `parse_json`.
    """
    if data.count(b"[") + data.count(b"{") > _FREE_BRACKETS + len(data) // _BYTES_A_BRACKET:
        raise ValueError("almost nothing but brackets")
    try:
        value = json.loads(data, parse_constant=_refuse_constant, object_pairs_hook=_unique)
        # What cannot be written again would only be noticed later: 1e999, a lone surrogate, depth.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a text that is no Unicode") from None
    except (RecursionError, MemoryError):
        raise ValueError("nested too deep") from None
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key is there twice")
    return made
