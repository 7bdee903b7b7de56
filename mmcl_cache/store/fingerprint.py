"""Settings as canonical JSON, their fingerprint, and what differs between two of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN.

    Raises:
        TypeError, ValueError: something that JSON cannot say exactly.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def fingerprint(value: Any) -> str:
    """sha256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def differences(stored: Any, asked: Any, at: str = "") -> list[str]:
    """One text for each setting that differs: 'strip.quality is 95 on disk, 90 asked for'."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        found: list[str] = []
        for key in sorted({*stored, *asked}):
            where = f"{at}.{key}" if at else str(key)
            if key not in stored:
                found.append(f"{where} is not set on disk, {_short(asked[key])} asked for")
            elif key not in asked:
                found.append(f"{where} is {_short(stored[key])} on disk, not asked for")
            else:
                found.extend(differences(stored[key], asked[key], where))
        return found
    if canonical_json(stored) == canonical_json(asked):
        return []
    return [f"{at} is {_short(stored)} on disk, {_short(asked)} asked for"]


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 80 else text[:77] + "..."
