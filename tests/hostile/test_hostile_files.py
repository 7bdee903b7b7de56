"""A file from a stranger can do no harm: every hostile file is refused with one line, quickly, with little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mmcl_cache.errors import UserError
from tests.hostile.case import Case
from tests.hostile.corpus import CASES

ROOT = Path(__file__).resolve().parents[2]
MOST_MEGABYTES = 300
MOST_SECONDS = 5.0  # of processor time


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Case → what came of reading it, the path that was read included."""
    top = tmp_path_factory.mktemp("hostile")
    canary = top / "canary" / "secret.h5"
    canary.parent.mkdir()
    canary.write_bytes(b"nobody may read this")
    files = []
    for number, case in enumerate(CASES):
        folder = top / f"{number:03d}"
        folder.mkdir()
        files.append([case.label, case.reader, str(folder), str(case.make(folder, canary))])
    task = top / "task.json"
    allowed = [str(top / "caches")]
    task.write_text(json.dumps({"canary": str(canary), "files": files, "allowed": allowed}))
    environment = os.environ | {"XDG_CACHE_HOME": str(top / "caches"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.hostile.reading", str(task)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert len(found) == len(CASES), done.stderr[-3000:]
    assert sorted(path.name for path in canary.parent.iterdir()) == ["secret.h5"]
    assert canary.read_bytes() == b"nobody may read this"
    if report := os.environ.get("HOSTILE_REPORT"):
        Path(report).write_text(json.dumps(list(found.values()), indent=1))
    return {
        name: {**each, "path": path} for each, (name, _, _, path) in zip(found.values(), files, strict=True)
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_hostile_file_is_refused_and_does_nothing(case: Case, outcomes: dict[str, dict[str, Any]]) -> None:
    found = outcomes[case.label]
    assert found["outcome"] == ("refused" if case.message else "read"), found
    assert not found["touched"], f"{case.label}: something reached for the canary"
    assert found["strange"] == []
    assert found["megabytes"] < MOST_MEGABYTES
    assert found["seconds"] < MOST_SECONDS
    if case.message:
        assert case.message in found["message"]
        assert len(found["message"].splitlines()) == 1, found["message"]
        assert (case.names or Path(found["path"]).name) in found["message"]


def test_message_with_a_hostile_name_is_one_line_that_steers_no_terminal() -> None:
    told = str(UserError("a.pkl: it names \x1b[2J\r\n\x0b\u2028\u202eevil \udcff Ünï–code"))
    assert told == r"a.pkl: it names \x1b[2J\r\n\x0b\u2028\u202eevil \udcff Ünï–code"
    assert len(told.splitlines()) == 1 and told.encode()


def test_corpus_is_large_and_every_case_has_its_own_name() -> None:
    twice = [name for name, count in Counter(case.label for case in CASES).items() if count > 1]
    assert twice == [] and len(CASES) >= 100
    assert len({case.kind for case in CASES}) >= 10
