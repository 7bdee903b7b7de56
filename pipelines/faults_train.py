"""Training runs that are killed or meet a full disk, and go on to the very bytes of a run left alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

import mmcl_train.engine.checkpoint as checkpoints
from mmcl_train.cli import cli as mmcl_train
from pipelines.faults_child import FULL, Command, Point, Spell, before, die, fail
from pipelines.faults_outcome import Outcome, trials
from pipelines.faults_workshop import Workshop

SMALL = (
    "model.width=0.125", "clip.length=16", "clip.shortest=8", "train.batch=2", "schedule.epochs=2",
    "schedule.warmup=1", "schedule.steps=[]", "train.checkpoint_minutes=0", "train.check_every=1",
)  # fmt: skip
CALLS = {
    "sync": Point(os, "fsync"),
    "rename": Point(os, "rename"),
    "replace": Point(os, "replace"),
    "unlink": Point(os, "unlink"),
    "write": Point(checkpoints, "write_synced"),
}
EXACT: dict[str, Sequence[str]] = {
    "training killed at an fsync": ("sync",),
    "training killed before a rename": ("rename", "replace"),
    "training killed while a checkpoint is removed": ("unlink",),
}


class Reference:
    """A run left alone on the cache of a workshop, and the comparison of others with it."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        out = shop.root / "run"
        self.seconds, self.calls = shop.count(CALLS, self.command(out))
        self.content = read_results(out)

    def command(self, out: Path) -> Command:
        """The same short run, into some folder; a checkpoint after every step."""
        words = [
            "run",
            "--cache",
            str(self.shop.reference),
            "--device",
            "cpu",
            "--seed",
            "3",
            "--out",
            str(out),
        ]
        words += [word for setting in SMALL for word in ("--set", setting)]
        return lambda: mmcl_train(words, prog_name="mmcl-train")

    def some_call(self, name: str) -> Point:
        point = CALLS[name]
        return Point(point.owner, point.name, self.shop.random.randint(1, self.calls[name]))

    def settle(self, outcome: Outcome, out: Path, troubles: Sequence[str]) -> None:
        """The same command again: it ends with the very bytes of the run left alone, and leaves nothing over."""
        ended = self.shop.run(self.command(out))
        found = [*troubles, ended.trouble(0)]
        here = read_results(out)
        found += [f"{name}: differs" for name, value in self.content.items() if here.get(name) != value]
        found += [f"{path.relative_to(out)}: left over" for path in out.rglob("*.part")]
        differs, lost = self.shop.compare(self.shop.reference, {})
        outcome.note(found + differs, lost)
        shutil.rmtree(out)


def read_results(out: Path) -> dict[str, str]:
    """Digests of all weights, of the metrics and of the scores of a finished run."""
    found = {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.safetensors"))}
    found["metrics.jsonl"] = (
        (out / "metrics.jsonl").read_bytes() if (out / "metrics.jsonl").is_file() else b""
    )
    for path in sorted(out.glob("scores/*.npz")):
        with np.load(path, allow_pickle=False) as scores:
            found[str(path.relative_to(out))] = scores["logits"].tobytes()
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def kill_exactly(kind: str, reference: Reference, count: int) -> Outcome:
    """SIGKILL at calls picked at random."""
    return _disturb(
        kind, reference, count, EXACT[kind], lambda point: before(point, die), -signal.SIGKILL, ""
    )


def fill_disk(reference: Reference, count: int) -> Outcome:
    """No room for a file of a checkpoint or of the results: one line, and everything saved before is kept."""
    full = os.strerror(FULL)
    return _disturb(
        "training on a full disk (ENOSPC)",
        reference,
        count,
        ("write",),
        lambda p: before(p, fail(FULL)),
        2,
        full,
    )


def kill_at_random(reference: Reference, count: int) -> Outcome:
    """SIGKILL at moments picked at random, from the start to the end of a run."""
    outcome, shop = Outcome("training killed at a random moment"), reference.shop
    with outcome.timed():
        for _ in trials(outcome, count):
            out = shop.new_cache()
            delay = shop.random.uniform(0.05, 0.95) * reference.seconds
            if shop.run(reference.command(out), kill_after=delay).code == -signal.SIGKILL:
                out.mkdir(exist_ok=True)
                reference.settle(outcome, out, [])
    return outcome


def _disturb(
    kind: str,
    reference: Reference,
    count: int,
    names: Sequence[str],
    spell_of: Callable[[Point], Spell],
    code: int,
    words: str,
) -> Outcome:
    outcome, shop = Outcome(kind), reference.shop
    with outcome.timed():
        for n in range(count):
            out = shop.new_cache()
            spell = spell_of(reference.some_call(names[n % len(names)]))
            ended = shop.run(reference.command(out), [spell])
            reference.settle(outcome, out, [ended.trouble(code, words)])
    return outcome


TRIALS: dict[str, Callable[[Reference, int], Outcome]] = {
    **{kind: partial(kill_exactly, kind) for kind in EXACT},
    "training killed at a random moment": kill_at_random,
    "training on a full disk (ENOSPC)": fill_disk,
}
