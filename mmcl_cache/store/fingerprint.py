"""Settings as canonical JSON, their fingerprint, and what differs between two of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

NOT_SET = object()
"""Stands for the value of a setting that is not there."""


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN.

    Raises:
        TypeError, ValueError: something that JSON cannot say exactly.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def fingerprint(value: Any) -> str:
    """sha256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def differing_settings(one: Any, other: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, value in one, value in other) of every setting that differs; `NOT_SET` where one has none."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            where = f"{at}.{key}" if at else str(key)
            yield from differing_settings(one.get(key, NOT_SET), other.get(key, NOT_SET), where)
    elif one is NOT_SET or other is NOT_SET or canonical_json(one) != canonical_json(other):
        yield at, one, other


def differences(stored: Any, asked: Any) -> list[str]:
    """One text for each setting that differs: 'strip.quality is 95 on disk, 90 asked for'."""
    found = []
    for where, ours, theirs in differing_settings(stored, asked):
        if ours is NOT_SET:
            found.append(f"{where} is not set on disk, {shorten(theirs)} asked for")
        elif theirs is NOT_SET:
            found.append(f"{where} is {shorten(ours)} on disk, not asked for")
        else:
            found.append(f"{where} is {shorten(ours)} on disk, {shorten(theirs)} asked for")
    return found


def join_some(found: Sequence[str], shown: int = 6) -> str:
    """The first few of several texts, and how many more there are."""
    more = f"; and {len(found) - shown} more" if len(found) > shown else ""
    return "; ".join(found[:shown]) + more


def shorten(value: Any) -> str:
    """A setting's value in at most 80 characters."""
    text = canonical_json(value)
    return text if len(text) <= 80 else text[:77] + "..."
