"""Many runs from one load of the cache."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_cache.store import UserError
from mmcl_cache.terminal.clock import Clock
from mmcl_cache.terminal.display import Display, Numbered
from mmcl_cache.terminal.events import progress_event
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
    configs: Iterable[RunConfig], loader: InputLoader, root: Path, display: Display, jobs: int = 1
) -> list[Outcome]:
    """Train each config in its own folder under `root`; finished ones are read, interrupted ones continued.

    A run that ends with a UserError (a loss that is not finite, another run's folder) is noted, and the others go on.

    Args:
        display: shows every run under its number, and how many are done.
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
            display.note(line)

    def load(config: RunConfig) -> Inputs:
        return loader.load(config, say_once)

    told = _Told(display, len(planned))
    answers: dict[int, Answer] = {}
    for job in planned:
        told.begin(job)
        if jobs == 1 or RunFolder(job.folder).is_finished():
            try:
                shown = Numbered(display, job.number)
                answers[job.number] = Answer(train(job.config, load(job.config), job.folder, shown))
            except UserError as error:
                answers[job.number] = Answer(error=str(error))
            told.end(job, answers[job.number])
    left = [job for job in planned if job.number not in answers]
    if left:
        answers |= run_jobs(left, load, min(jobs, len(left)), display, told.end)
    return [
        Outcome(job.config, job.folder, answers[job.number].result, answers[job.number].error)
        for job in planned
    ]


class _Told:
    """What a sweep tells of its runs: each one's beginning and end, and how many are done."""

    def __init__(self, display: Display, runs: int) -> None:
        self._display, self._runs, self._ended, self._clock = display, runs, 0, Clock()
        self._display.show(progress_event("runs", 0, runs, self._clock))

    def begin(self, job: Job) -> None:
        self._show(job, "planned", f"run {job.number} of {self._runs}: {job.folder}")

    def end(self, job: Job, answer: Answer) -> None:
        self._ended += 1
        if answer.result is None:
            self._show(job, "failed", f"failed: {answer.error}", error=answer.error)
        else:
            accuracy = answer.result["accuracy"]
            top1 = accuracy["test-last"]["top1"]
            self._show(job, "finished", f"finished: test top-1 {100 * top1:.2f}", accuracy=accuracy)
        self._display.show(progress_event("runs", self._ended, self._runs, self._clock))

    def _show(self, job: Job, state: str, text: str, **more: Any) -> None:
        about = {"run": job.number, "runs": self._runs, "folder": str(job.folder), "state": state}
        self._display.show({"event": "run", **about, **more, "text": text})


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


def summarise_sweep(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Each run as plain values: what it was, its accuracies or its error."""
    return [
        {
            "folder": str(outcome.folder),
            "backbone": outcome.config.model.backbone,
            "stream": outcome.config.data.stream,
            "co_learning": outcome.config.method.enabled,
            "seed": outcome.config.train.seed,
            "accuracy": outcome.result["accuracy"] if outcome.result else None,
            "error": outcome.error,
        }
        for outcome in outcomes
    ]


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
