"""Break things on purpose: kills, full and broken disks, folders that vanish; and show that nothing is lost.

    python -m pipelines.faults                  # what `make faults` runs
    python -m pipelines.faults --kills 500      # so many kills at random moments
    python -m pipelines.faults --minutes 60     # everything again and again, each time elsewhere

A small data set is generated and built once undisturbed. Then builds are disturbed, continued by the same command and
compared with the undisturbed one: every file, byte for byte. Training runs likewise, on the undisturbed cache. Exit
code 1 where a fault was not survived. Where faults strike follows from the seed, moments in time apart.
"""

from __future__ import annotations

import os

# Read when torch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click
import torch
import torch._dynamo

import mmcl_cache.build
import mmcl_train.engine.trainer
from pipelines import faults_build, faults_disk, faults_train
from pipelines.faults_outcome import Outcome, format_table
from pipelines.faults_workshop import Workshop

WARM = (mmcl_cache.build, mmcl_train.engine.trainer, torch._dynamo)
"""What the commands import when they run: here, once for all children."""
GROUPS = ("build", "disk", "train")
LONG = {
    "build killed at a random moment": 20,
    "build killed, and again while it continues": 4,
    "decode process killed": 4,
    "one rank of two killed": 3,
    "parent of two ranks killed": 1,
    "second build on a cache that is being built": 3,
    "training killed at a random moment": 4,
    "training killed at an fsync": 4,
    "training on a full disk (ENOSPC)": 2,
    "disk full (ENOSPC)": 4,
    "disk broken (EIO)": 4,
}
"""Faults of a kind; of the others as many as `USUAL`."""
USUAL = {"build": 5, "disk": 2, "train": 2}
SHORT = {
    "build killed at a random moment": 3,
    "parent of two ranks killed": 0,
    "source gone, or its mount empty": 2,
    "disk really full: bytes, inodes (tmpfs)": 1,
}
"""The same for the tests; of the others one."""


def run_faults(
    root: Path, groups: tuple[str, ...], short: bool, kills: int | None, seed: int, say: Callable[[str], None]
) -> list[Outcome]:
    """Every kind of fault of these groups, in an empty folder."""
    torch.set_num_threads(1)
    shop = Workshop(root, clips=6 if short else 24, shard_size=2 if short else 3, seed=seed)
    say(f"undisturbed: {shop.clips} clips, {shop.rows} rows in all fields, {shop.seconds:.1f} CPU s a build")
    outcomes = []
    for outcome in _try_all(shop, groups, short, kills):
        mark = (
            "skipped: " + outcome.skipped if outcome.skipped else f"{outcome.survived} of {outcome.injected}"
        )
        say(f"{outcome.kind}: {mark}, {outcome.seconds:.0f} s")
        for trouble in outcome.troubles:
            say(f"  {trouble}")
        outcomes.append(outcome)
    return outcomes


def _try_all(shop: Workshop, groups: tuple[str, ...], short: bool, kills: int | None) -> Iterator[Outcome]:
    def count(kind: str, group: str) -> int:
        if kind == "build killed at a random moment" and kills is not None:
            return kills
        return SHORT.get(kind, 1) if short else LONG.get(kind, USUAL[group])

    for group, trials in (("build", faults_build.TRIALS), ("disk", faults_disk.TRIALS)):
        for kind, trial in trials.items() if group in groups else ():
            if number := count(kind, group):
                yield trial(shop, number)
    if "train" in groups:
        reference = faults_train.Reference(shop)
        for kind, attempt in faults_train.TRIALS.items():
            if number := count(kind, "train"):
                yield attempt(reference, number)


def add_up(rounds: list[list[Outcome]]) -> list[Outcome]:
    """The outcomes of several rounds, kind by kind."""
    total: dict[str, Outcome] = {}
    for outcome in (each for outcomes in rounds for each in outcomes):
        before = total.get(outcome.kind)
        total[outcome.kind] = (
            outcome
            if before is None
            else replace(
                outcome,
                injected=before.injected + outcome.injected,
                survived=before.survived + outcome.survived,
                rows_lost=before.rows_lost + outcome.rows_lost,
                seconds=before.seconds + outcome.seconds,
                troubles=before.troubles + outcome.troubles,
            )
        )
    return list(total.values())


@click.command()
@click.option("--only", type=click.Choice(GROUPS), multiple=True, help="These groups.  [default: all]")
@click.option("--kills", type=int, metavar="N", help="Builds killed at random moments.  [default: 20]")
@click.option("--minutes", type=float, metavar="M", help="Begin new rounds until so much time has passed.")
@click.option(
    "--seed", default=1, metavar="N", help="Where the faults strike; each further round takes the next."
)
@click.option("--short", is_flag=True, help="Few faults of each kind, as the tests do.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def main(
    only: tuple[str, ...], kills: int | None, minutes: float | None, seed: int, short: bool, as_json: bool
) -> None:
    """Break builds, disks and training runs on purpose; one table of what came of it."""
    started = time.monotonic()
    rounds: list[list[Outcome]] = []
    while not rounds or (minutes is not None and time.monotonic() - started < 60 * minutes):
        with tempfile.TemporaryDirectory(prefix="faults-") as root:
            say = (lambda line: None) if as_json else click.echo
            rounds.append(run_faults(Path(root), only or GROUPS, short, kills, seed + len(rounds), say))
    outcomes = add_up(rounds)
    if as_json:
        click.echo(json.dumps([outcome.to_json() for outcome in outcomes]))
    else:
        used = sum(os.times()[:4])
        passed = time.monotonic() - started
        click.echo(
            f"\n{format_table(outcomes)}\n\nall of it: {passed:.0f} s, of which {used:.0f} CPU s were its own"
        )
    sys.exit(0 if all(outcome.passed for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
