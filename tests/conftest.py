"""What every test may use: where the shared reference lies, if it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Tests run side by side on few cores: one thread each is faster, and sums come out the same everywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden values and real files; the test is skipped where it is absent."""
    if not (SHARED / "golden").is_dir():
        pytest.skip(f"no shared reference at {SHARED}")
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")
