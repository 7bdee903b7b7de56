"""A build that is killed loses what it was at and nothing else: the same command ends with the undisturbed bytes.

After every kill: what has a marker has the undisturbed bytes and is never made again, what has none is listed as
pending and cannot be read; in the end every file is the same, and no other file is there.
"""

from __future__ import annotations

import pytest

from pipelines.faults_build import EXACT
from tests.faults.found import Inject, check

pytestmark = pytest.mark.timeout(600)  # the first test of a group waits for all of it


@pytest.mark.parametrize("kind", EXACT)
def test_build_killed_in_each_phase_continues_to_the_same_bytes(inject: Inject, kind: str) -> None:
    check(inject("build"), kind)


def test_build_killed_at_random_moments_continues_to_the_same_bytes(inject: Inject) -> None:
    check(inject("build"), "build killed at a random moment")


def test_build_killed_again_while_it_continues_ends_with_the_same_bytes(inject: Inject) -> None:
    check(inject("build"), "build killed, and again while it continues")


def test_decode_process_that_is_killed_costs_its_build_nothing(inject: Inject) -> None:
    check(inject("build"), "decode process killed")


def test_rank_that_is_killed_costs_its_open_shards_and_the_build_says_so(inject: Inject) -> None:
    check(inject("build"), "one rank of two killed")


def test_second_build_is_told_who_holds_the_cache_until_that_one_is_dead(inject: Inject) -> None:
    check(inject("build"), "second build on a cache that is being built")
