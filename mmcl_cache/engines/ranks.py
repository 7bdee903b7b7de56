"""One process of several that build one cache together: it opens its own models and makes its own shards.

Rank 0 plans; the others wait for what it says at two points, before any shard is begun, and never again. So a rank
that dies takes its open shards with it and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mmcl_cache.config import BuildConfig
from mmcl_cache.datasets import Dataset
from mmcl_cache.engines.job import Job, Pending, open_encoders, open_job
from mmcl_cache.engines.local import make_shards
from mmcl_cache.engines.report import BuildReport
from mmcl_cache.errors import UserError
from mmcl_cache.plan import choose_fields, scan_dataset
from mmcl_cache.store.lock import hold_lock, share_lock

T = TypeVar("T")
Agree = Callable[[Any], Any]
"""What rank 0 gives, at every rank; it returns when rank 0 has spoken."""
SAYINGS = 2  # how often rank 0 speaks before the others go their own way


class RankStopped(UserError):
    """Rank 0 met a user's mistake and has told it."""


def run_rank(
    config: BuildConfig,
    rank: int,
    world: int,
    agree: Agree,
    quiet: bool,
    tell: Callable[[Dataset, Job], None] | None = None,
) -> BuildReport:
    """Build every world-th of the shards that were pending when rank 0 looked.

    Args:
        rank, world: 0 ≤ rank < world.
        tell: called at rank 0 once everything is open.

    Raises:
        UserError: at the rank that met it; RankStopped at the others where it was rank 0.
    """
    # Rank 0 goes first: it may have to generate the data set.
    scanned = _lead(rank, agree, lambda: scan_dataset(config))
    dataset = scan_dataset(config) if scanned is None else scanned
    planned: tuple[Job, Pending] | None = None
    if rank == 0:
        planned = _lead(rank, agree, lambda: _plan(config, dataset), lambda made: made[1])
        assert planned is not None
        job, pending = planned
        if tell is not None:
            tell(dataset, job)
    else:
        encoders = open_encoders(config, choose_fields(config, dataset))
        pending = _follow(agree)
        job = open_job(config, dataset, encoders)
    mine = {k: pending[k] for k in sorted(pending)[rank::world]}
    with share_lock(config.cache):
        report = make_shards(job, mine, quiet or rank != 0)
    report.shards_found = job.cache.num_shards - len(pending) if rank == 0 else 0
    return report


def _plan(config: BuildConfig, dataset: Dataset) -> tuple[Job, Pending]:
    job = open_job(config, dataset)
    # Alone for a moment: proves that no other build is at work.
    with hold_lock(job.cache.path):
        return job, job.pending(alone=True)


def _lead(
    rank: int, agree: Agree, work: Callable[[], T], shown: Callable[[T], Any] = lambda made: None
) -> T | None:
    """Rank 0 works while the others wait; None at the others."""
    if rank != 0:
        _follow(agree)
        return None
    try:
        made = work()
    except UserError as error:
        agree({"error": str(error)})
        raise
    agree({"value": shown(made)})
    return made


def _follow(agree: Agree) -> Any:
    said = agree(None)
    if "error" in said:
        raise RankStopped(f"rank 0 stopped: {said['error']}")
    return said["value"]
