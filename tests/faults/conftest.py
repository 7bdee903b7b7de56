"""The short version of `make faults`, each group in a process of its own, once for all tests and test processes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.found import Found, Inject

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def inject(tmp_path_factory: pytest.TempPathFactory) -> Inject:
    """A group of faults ("build", "disk" or "train") → its outcomes by kind."""
    base = tmp_path_factory.getbasetemp()
    # Test processes side by side share what one of them found.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def run(group: str) -> Found:
        answer = shared / f"faults-{group}.json"
        with open(shared / f"faults-{group}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not answer.exists():
                answer.write_text(_run_group(group, base))
            return {outcome["kind"]: outcome for outcome in json.loads(answer.read_text())}

    return run


def _run_group(group: str, scratch: Path) -> str:
    command = [sys.executable, "-m", "pipelines.faults", "--short", "--json", "--only", group]
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=580)
    assert done.stdout, done.stderr[-3000:]
    return done.stdout
