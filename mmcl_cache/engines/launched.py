"""Under `accelerate launch` or torchrun: ranks, on one machine or many, own disjoint shards."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psutil
from accelerate import PartialState
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import broadcast_object_list

from mmcl_cache.config import BuildConfig
from mmcl_cache.datasets import Dataset
from mmcl_cache.engines.job import Job, on_device
from mmcl_cache.engines.ranks import run_rank
from mmcl_cache.engines.report import BuildReport

# Planning may take long: the data set is scanned, models are fetched.
PATIENCE = timedelta(hours=6)


_RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
_WORLDS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_HERE = ("LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE")


def is_launched() -> bool:
    """Is this process one of several that a launcher started?"""
    return _first_number(_RANKS, -1) >= 0 and _first_number(_WORLDS, 1) > 1


def processes_left_to_start() -> int:
    """How many processes `accelerate launch --cpu --num_processes N` wanted and did not start; 0 elsewhere.

    On CPUs accelerate leaves ranks to mpirun. Without it, it starts one process and tells it nothing of N, though N is
    on its command line, which is that of this process's parent.
    """
    if is_launched() or os.environ.get("ACCELERATE_USE_CPU") != "True" or "MASTER_ADDR" not in os.environ:
        return 0
    parent = psutil.Process().parent()
    words = parent.cmdline() if parent is not None else []
    start = next((n for n, word in enumerate(words) if word == "launch" or "accelerate" in word), len(words))
    while start < len(words) and ("accelerate" in words[start] or words[start] == "launch"):
        start += 1
    if start >= len(words):
        return 0
    asked, _ = launch_command_parser().parse_known_args(words[start:])
    return asked.num_processes if (asked.num_processes or 0) > 1 else 0


def _first_number(names: tuple[str, ...], default: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), default)


def run_launched(config: BuildConfig, say: Callable[[str], None], quiet: bool) -> BuildReport:
    """Build this rank's share of the shards.

    Raises:
        UserError: as `run_rank`.
    """
    state = PartialState(timeout=PATIENCE)
    device = str(state.device) if config.device == "auto" else config.device
    mine = on_device(config, device, _first_number(_HERE, 1))

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
