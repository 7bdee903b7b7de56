"""The fused kernels compute what the plain ones do; without a GPU, under Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CHECKS = ("interpreted_checks.py", "interpreted_norm_checks.py")


@pytest.mark.parametrize("checks", CHECKS)
def test_fused_kernels_pass_their_checks_under_the_interpreter(checks: str) -> None:
    """A process of its own: Triton reads its switch once, when it is imported."""
    pytest.importorskip("triton", reason="triton is not installed (it is made for Linux on x86-64)")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:xdist", str(Path(__file__).with_name(checks))]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout, done.stdout[-500:]
