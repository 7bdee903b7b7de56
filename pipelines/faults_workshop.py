"""A small data set, what an undisturbed build makes of it, and the comparison of every other cache with that."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mmcl_cache.engines.shard as shard_engine
import mmcl_cache.store.shard as store_shard
from mmcl_cache.cli import main as mmcl_cache
from mmcl_cache.demo.generate import generate_demo
from mmcl_cache.errors import MissingFieldError
from mmcl_cache.fields.recording import Recorder
from mmcl_cache.store import open_cache
from mmcl_cache.store.lock import LOCK_NAME
from pipelines.faults_child import Child, Command, Ended, Point, Spell, count_calls, run
from pipelines.faults_outcome import Outcome

CALLS = {
    "decode": Point(Recorder, "__call__"),
    "encode": Point(shard_engine, "make_feature_rows"),
    "write": Point(store_shard, "write_arrays"),
    "marker": Point(store_shard, "write_marker"),
    "sync": Point(os, "fsync"),
    "rename": Point(os, "replace"),
}
"""What a build calls again and again, by phase."""

Finished = dict[str, tuple[int, int]]
"""Shards that are complete: path in the cache → inode and time of change, ns."""


@dataclass
class Workshop:
    """Where faults are tried.

    Args:
        root: an empty folder, for everything.
        clips, shard_size: of the generated data set.
        seed: of where the faults strike.
    """

    root: Path
    clips: int
    shard_size: int
    seed: int = 1

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.source, self.reference = self.root / "source", self.root / "reference"
        self.tried = 0
        made = run(lambda: generate_demo(self.source, clips=self.clips, seed=3, workers=1), self.root / "log")
        assert made.code == 0, made.output
        self.seconds, self.calls = self.count(CALLS, self.command(self.reference))
        """CPU s that an undisturbed build takes, and how often it calls what."""
        self._digests = digest_files(self.reference)
        self._rows = {
            path: json.loads((self.reference / path).with_suffix(".json").read_text())["rows"]
            for path in self._digests
            if is_shard(path)
        }

    def count(self, points: dict[str, Point], command: Command) -> tuple[float, dict[str, int]]:
        """Run a command that must succeed; CPU s it took, and how often it made which call."""
        answer = self.root / "calls.json"
        counted = count_calls(points, command, lambda calls: answer.write_text(json.dumps(calls)))
        ended = run(counted, self.root / "log")
        assert ended.code == 0, ended.output
        return ended.seconds, json.loads(answer.read_text())

    @property
    def rows(self) -> int:
        """Of an undisturbed cache, all fields together."""
        return sum(self._rows.values())

    def command(self, cache: Path, *more: str, source: Path | None = None) -> Command:
        """The same build, into some folder."""
        words = ["build", "--dataset", "demo", "--source", str(source or self.source), "--cache", str(cache)]
        words += ["--shard-size", str(self.shard_size), "--batch-size", "2", "--device", "cpu", "--quiet"]
        words += list(more) if "--workers" in more else ["--workers", "0", *more]
        return lambda: mmcl_cache(words, prog_name="mmcl-cache")

    def new_cache(self) -> Path:
        """A folder that is not there yet."""
        self.tried += 1
        return self.root / f"cache-{self.tried}"

    def start(self, command: Command, spells: Sequence[Spell] = ()) -> Child:
        self.tried += 1
        return Child(command, self.root / f"log-{self.tried}", spells)

    def run(self, command: Command, spells: Sequence[Spell] = (), kill_after: float | None = None) -> Ended:
        return run(command, self.root / "log", spells, kill_after)

    def some_call(self, phase: str) -> Point:
        """One of the calls that an undisturbed build makes."""
        point = CALLS[phase]
        return Point(point.owner, point.name, self.random.randint(1, self.calls[phase]))

    def finished(self, cache: Path) -> tuple[Finished, list[str]]:
        """The shards that are complete after a fault, and what is wrong with them or with those that are not.

        A complete shard has the bytes of the undisturbed one; any other is listed as pending and cannot be read.
        """
        found: Finished = {}
        troubles = []
        for path in self._rows:
            shard, marker = cache / path, (cache / path).with_suffix(".json")
            if not marker.is_file():
                continue
            if not shard.is_file() or digest(shard) != self._digests[path]:
                troubles.append(f"{path}: has its marker, and other content than an undisturbed one")
            else:
                found[path] = stamp(shard)
        return found, troubles + self._orphans(cache)

    def _orphans(self, cache: Path) -> list[str]:
        if not (cache / "cache.json").is_file():
            return []
        troubles = []
        opened = open_cache(cache)
        for name, variants in opened.fields().items():
            field = opened.field(name, variants[0])
            pending = field.pending()
            for index in range(field.num_shards):
                has_marker = (field.folder / f"{index:05d}.json").is_file()
                if has_marker == (index in pending):
                    troubles.append(f"{field.name}: shard {index} pending, marker there: {has_marker}")
                if not has_marker and (field.folder / f"{index:05d}.h5").is_file():
                    try:
                        field.read_shard(index)
                        troubles.append(f"{field.name}: shard {index} was read without its marker")
                    except MissingFieldError:
                        pass
        return troubles

    def compare(self, cache: Path, kept: Finished) -> tuple[list[str], int]:
        """What differs between a cache and the undisturbed one, and how many rows are lost by it.

        Args:
            kept: shards that were complete before; to have made them again is to have lost them.
        """
        here, troubles, lost = digest_files(cache), [], set()
        for path, wanted in self._digests.items():
            if here.pop(path, None) != wanted:
                troubles.append(f"{path}: missing or different")
                lost.add(path)
        troubles += [f"{path}: left over" for path in here]
        for path, before in kept.items():
            if path not in lost and stamp(cache / path) != before:
                troubles.append(f"{path}: was complete and made again")
                lost.add(path)
        return troubles, sum(self._rows.get(path, 0) for path in lost)

    def settle(
        self,
        outcome: Outcome,
        cache: Path,
        troubles: Sequence[str] = (),
        faults: int = 1,
        command: Command | None = None,
        remove: bool = True,
    ) -> None:
        """After a fault: look at what it left, run the same command, compare its end with the undisturbed cache."""
        kept, found = self.finished(cache)
        ended = self.run(command or self.command(cache))
        differs, lost = self.compare(cache, kept)
        outcome.note([*troubles, *found, ended.trouble(0), *differs], lost, faults)
        if remove:
            shutil.rmtree(cache)


def is_shard(path: str) -> bool:
    return path.endswith(".h5") and path.count("/") == 2


def stamp(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_ino, about.st_mtime_ns


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest_files(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, but for the lock."""
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != LOCK_NAME]
    return {str(p.relative_to(folder)): digest(p) for p in paths}


Trial = Callable[[Workshop, int], Outcome]
"""Tries a fault so many times."""
