from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.mmcl_train.engine.learnable_cache import make_cache

ROOT = Path(__file__).resolve().parents[3]
# First checkpoint: files 6–9, folder 10, its rename before 11; the others lie in later checkpoints and at the end.
FSYNCS = [2, 8, 11, 25, 41]


def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "tests.mmcl_train.engine.killed_runs",
        str(tmp_path),
        json.dumps(FSYNCS),
        "2",
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["killed"] >= len(FSYNCS)
    assert {name: end == found["reference"] for name, end in found["ends"].items()} == dict.fromkeys(
        found["ends"], True
    )
