"""A disk that fails under a build ends it with one line and exit code 2; mended, the same command completes it."""

from __future__ import annotations

import pytest

from pipelines.faults_disk import TRIALS
from tests.faults.found import Inject, check

pytestmark = pytest.mark.timeout(600)  # the first test of a group waits for all of it


@pytest.mark.parametrize("kind", TRIALS)
def test_failing_disk_is_one_line_and_finished_shards_are_kept(inject: Inject, kind: str) -> None:
    check(inject("disk"), kind)
