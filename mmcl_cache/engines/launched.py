"""Under `accelerate launch`: ranks, on one machine or many, own disjoint shards."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from mmcl_cache.config import BuildConfig
from mmcl_cache.datasets import Dataset
from mmcl_cache.engines.job import Job, on_device
from mmcl_cache.engines.ranks import run_rank
from mmcl_cache.engines.report import BuildReport

# Planning may take long: the data set is scanned, models are fetched.
PATIENCE = timedelta(hours=6)


def is_launched() -> bool:
    """Is this process one of several that a launcher started?"""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def run_launched(config: BuildConfig, say: Callable[[str], None], quiet: bool) -> BuildReport:
    """Build this rank's share of the shards.

    Raises:
        UserError: as `run_rank`.
    """
    state = PartialState(timeout=PATIENCE)
    device = str(state.device) if config.device == "auto" else config.device
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    mine = on_device(config, device, here)

    def agree(value: Any) -> Any:
        box = [value]
        broadcast_object_list(box, from_process=0)
        return box[0]

    def tell(dataset: Dataset, job: Job) -> None:
        say(
            f"{dataset.name}: {len(dataset.samples)} samples under {config.source}, "
            f"{job.cache.num_shards} shards shared by {state.num_processes} processes"
        )

    return run_rank(mine, state.process_index, state.num_processes, agree, quiet, tell)
