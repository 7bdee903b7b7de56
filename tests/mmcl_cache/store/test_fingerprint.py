"""Settings have one text, one fingerprint, and their differences can be told."""

from __future__ import annotations

import pytest

from mmcl_cache.store import canonical_json, differences, fingerprint


def test_order_of_keys_does_not_matter_and_values_do() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})


def test_what_json_cannot_say_exactly_is_refused() -> None:
    with pytest.raises(ValueError):
        canonical_json({"a": float("nan")})
    with pytest.raises(TypeError):
        canonical_json({"a": object()})


def test_every_difference_is_named_by_its_path() -> None:
    stored = {"strip": {"quality": 95, "tiles": 5}, "old": 1}
    asked = {"strip": {"quality": 90, "tiles": 5}, "new": "x"}
    assert differences(stored, asked) == [
        'new is not set on disk, "x" asked for',
        "old is 1 on disk, not asked for",
        "strip.quality is 95 on disk, 90 asked for",
    ]
    assert differences(stored, stored) == []
