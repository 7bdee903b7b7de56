"""Many runs from one load of the cache."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_cache.store import UserError
from mmcl_train.config import RunConfig
from mmcl_train.scores.tables import format_table

from .folder import RunFolder
from .inputs import InputLoader, Inputs, resolve
from .jobs import Answer, Job, run_jobs
from .naming import default_out
from .trainer import train


@dataclass(frozen=True)
class Outcome:
    """One run of a sweep: its result, or why it has none."""

    config: RunConfig
    folder: Path
    result: dict[str, Any] | None
    error: str = ""


def plan_runs(
    base: RunConfig,
    *,
    backbones: Sequence[str],
    streams: Sequence[str],
    co_learning: Sequence[bool],
    seeds: Sequence[int],
) -> list[RunConfig]:
    """Every combination, seeds last; an empty list stands for what the base has."""
    combinations = itertools.product(
        backbones or [base.model.backbone],
        streams or [base.data.stream],
        co_learning or [base.method.enabled],
        seeds or [base.train.seed],
    )
    return [
        dataclasses.replace(
            base,
            model=dataclasses.replace(base.model, backbone=backbone),
            data=dataclasses.replace(base.data, stream=stream),
            method=dataclasses.replace(base.method, enabled=enabled),
            train=dataclasses.replace(base.train, seed=seed),
        )
        for backbone, stream, enabled, seed in combinations
    ]


def sweep(
    configs: Iterable[RunConfig], loader: InputLoader, root: Path, say: Callable[[str], None], jobs: int = 1
) -> list[Outcome]:
    """Train each config in its own folder under `root`; finished ones are read, interrupted ones continued.

    A run that ends with a UserError (a loss that is not finite, another run's folder) is noted, and the others go on.

    Args:
        jobs: runs at a time, each in its own process on the same resident data.

    Raises:
        Interrupted: after Ctrl-C; the same sweep goes on from there.
    """
    configs = [resolve(config, loader.cache.description) for config in configs]
    dataset = loader.cache.description.dataset
    planned = [Job(n, config, default_out(config, dataset, root)) for n, config in enumerate(configs, 1)]
    said = set[str]()

    def say_once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    def load(config: RunConfig) -> Inputs:
        return loader.load(config, say_once)

    answers: dict[int, Answer] = {}
    for job in planned:
        say(f"run {job.number} of {len(planned)}: {job.folder}")
        if jobs == 1 or RunFolder(job.folder).is_finished():
            try:
                answers[job.number] = Answer(train(job.config, load(job.config), job.folder))
            except UserError as error:
                answers[job.number] = Answer(error=str(error))
                say(f"  failed: {error}")
    left = [job for job in planned if job.number not in answers]
    if left:
        answers |= run_jobs(left, load, min(jobs, len(left)))
        for job in left:
            if answers[job.number].result is None:
                say(f"run {job.number} failed: {answers[job.number].error}")
    return [
        Outcome(job.config, job.folder, answers[job.number].result, answers[job.number].error)
        for job in planned
    ]


def format_sweep(outcomes: Sequence[Outcome]) -> str:
    """One row a setting: test top-1 of each seed, mean ± std, last epoch and epoch best on val."""
    groups: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        config = outcome.config
        method = "co-learning" if config.method.enabled else "skeleton only"
        groups.setdefault((config.model.backbone, config.data.stream, method), []).append(outcome)
    rows = []
    for (backbone, stream, method), members in groups.items():
        seeds = ", ".join(
            str(member.config.train.seed) + ("" if member.result else " failed") for member in members
        )
        rows.append(
            [f"{backbone} {stream}", method, seeds, *(_spread(members, key) for key in ("last", "best-val"))]
        )
    return format_table(["run", "method", "seeds", "test, last epoch", "test, best on val"], rows)


def _spread(members: Sequence[Outcome], weights: str) -> str:
    found = [
        100 * member.result["accuracy"][f"test-{weights}"]["top1"]
        for member in members
        if member.result and f"test-{weights}" in member.result["accuracy"]
    ]
    if not found:
        return "-"
    spread = float(np.std(found, ddof=1)) if len(found) > 1 else math.nan
    return f"{np.mean(found):.2f}" + ("" if math.isnan(spread) else f" ± {spread:.2f}")
