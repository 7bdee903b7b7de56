"""What `python -m pipelines.faults --json` found, and the check of one kind of fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Found = dict[str, dict[str, Any]]
"""Kind of fault → its outcome, as `pipelines.faults_outcome.Outcome` has it."""
Inject = Callable[[str], Found]
"""Injects the faults of a group, "build", "disk" or "train"."""


def check(found: Found, kind: str) -> None:
    """Skip where the machine could not try it; fail with what was wrong."""
    outcome = found[kind]
    if outcome["skipped"]:
        pytest.skip(outcome["skipped"])
    assert outcome["injected"] > 0
    assert outcome["survived"] == outcome["injected"], "\n".join(outcome["troubles"])
    assert outcome["rows_lost"] == 0
