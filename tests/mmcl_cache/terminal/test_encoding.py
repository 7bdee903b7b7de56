"""Terminals that cannot show every sign."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SHOW = """
from mmcl_cache.terminal.encoding import prepare_streams
prepare_streams()
import sys, click
from mmcl_cache.terminal.live import open_display
from mmcl_cache.terminal.board import ProgressBoard
click.echo("joint → bone, 3 × 4 ± 1 …, 漢")
print("joint → bone", file=sys.stderr)
with ProgressBoard({"decode": 2}) as board:
    board.advance("decode")
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
@pytest.mark.parametrize("mode", ["live", "lines"])
def test_signs_a_terminal_lacks_are_spelled(encoding: str, mode: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "MMCL_PROGRESS": mode, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    out, error = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert out.startswith("joint -> bone, 3 ") and "..." in out and out.rstrip().endswith("?")
    assert "joint -> bone" in error
    if encoding == "ascii":
        assert "3 x 4 +- 1" in out


def test_utf_8_is_left_alone() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, env=environment, check=True)
    assert done.stdout.decode("utf-8") == "joint → bone, 3 × 4 ± 1 …, 漢\n"
