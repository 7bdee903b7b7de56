"""A training run killed, or on a full disk, ends with the weights, metrics and scores of an undisturbed one."""

from __future__ import annotations

import pytest

from pipelines.faults_train import TRIALS
from tests.faults.found import Inject, check

pytestmark = pytest.mark.timeout(600)  # the first test of a group waits for all of it


@pytest.mark.parametrize("kind", TRIALS)
def test_disturbed_training_continues_to_the_same_bytes(inject: Inject, kind: str) -> None:
    check(inject("train"), kind)
