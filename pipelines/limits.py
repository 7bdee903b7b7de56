"""Does it hold at full size? A cache of NTU-120's size and a build of many samples, measured, against what is promised.

    python -m pipelines.limits --rows 120000 --samples 20000 --folder limits-out

Everything is generated; about 6 GB of disk. Each measurement runs in a process of its own. Times and rates are judged
by the processor's time, which other work on the machine changes little; the time that passed stands beside it. Exit
code 1 where an aim is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from pipelines.limits_cache import write_large_cache
from pipelines.limits_samples import write_samples

SHARE = 4  # the smaller build has this part of the samples
SETTLED = 2.5  # s after which a written file counts as left alone


@dataclass(frozen=True)
class Line:
    """One line of the table. ok: None where nothing is promised."""

    what: str
    aim: str
    measured: str
    ok: bool | None = None

    def __str__(self) -> str:
        verdict = {None: "", True: "ok", False: "MISSED"}[self.ok]
        return f"| {self.what:44} | {self.aim:>12} | {self.measured:58} | {verdict:6} |"


def measure(name: str, own: Path, *paths: Path) -> SimpleNamespace:
    """What `limits_measure` finds, in a process of its own.

    Args:
        own: where that process keeps what is this user's own.

    Raises:
        SystemExit: it failed; what it said is printed.
    """
    command = [sys.executable, "-m", "pipelines.limits_measure", name, *map(str, paths)]
    env = {**os.environ, "XDG_CACHE_HOME": str(own), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {done.returncode}")
    return SimpleNamespace(**json.loads(done.stdout.splitlines()[-1]))


def measure_cache(folder: Path, rows: int) -> list[Line]:
    """Opening, counting, loading and verifying a large cache."""
    cache, own = folder / f"cache{rows}", folder / "own"
    shutil.rmtree(own, ignore_errors=True)
    write_large_cache(cache, rows)
    time.sleep(SETTLED)
    opened, status = measure("open", own, cache), measure("status", own, cache)
    hashing, memory = measure("hash", own, cache), measure("memory", own)
    first, again = measure("first", own, cache), measure("columns", own, cache)
    taken = measure("features", own, cache)
    skeletons_first = measure("skeletons", own, cache)
    skeletons, split = measure("skeletons", own, cache), measure("split", own, cache)
    verified, status_again = measure("verify", own, cache), measure("status", own, cache)
    share = split.peak / split.data
    size = f"{rows:,} rows"
    return [
        Line(f"open a cache, {size}", "< 1 s", _seconds(opened), opened.cpu < 1),
        Line("status, no shard ever read", "< 2 s", _seconds(status), status.cpu < 2),
        Line("status, shards sealed", "< 2 s", _seconds(status_again), status_again.cpu < 2),
        Line(
            f"text + rgb of {again.count:,} rows, hashed before", "≥ 1 GB/s", _rate(again), _gbps(again) >= 1
        ),
        Line("two columns of them, as a run takes", "", _rate(taken)),
        Line("all of them for the first time: hashed", "", _rate(first)),
        Line("of that: read and hash, in one thread", "", _rate(hashing)),
        Line("skeletons of all rows, for the first time", "", _rate(skeletons_first)),
        Line("skeletons of all rows, hashed before", "", _rate(skeletons)),
        Line("memory that nobody had before, 1 GiB", "", _rate(memory)),
        Line("peak of memory, all fields of all rows", "≤ 1.2 × data", _memory(split), share <= 1.2),
        Line(f"verify, {verified.count:,} shards, every byte", "", _rate(verified)),
    ]


def measure_builds(folder: Path, samples: int) -> list[Line]:
    """Plan, build, status and verify of many samples, against a quarter of them."""
    own, found = folder / "own", {}
    for count in (samples // SHARE, samples):
        source, cache = folder / f"samples{count}", folder / f"built{count}"
        for old in (source, cache):
            shutil.rmtree(old, ignore_errors=True)
        write_samples(source, count)
        found[count] = {
            "plan": measure("plan", own, source),
            "build": measure("build", own, source, cache),
            "status": measure("status", own, cache),
            "verify": measure("verify", own, cache),
        }
    few, many = found[samples // SHARE], found[samples]
    aim = SHARE * 1.15
    lines = []
    for name, large in many.items():
        ratio = large.cpu / few[name].cpu
        shown = f"{_seconds(large)}, {samples / large.cpu:,.0f} rows/s; × {ratio:.2f}"
        lines.append(
            Line(
                f"{name}, {samples:,} samples against {samples // SHARE:,}",
                f"≤ {aim:.1f} ×",
                shown,
                ratio <= aim,
            )
        )
    peaks = [each["build"].peak for each in (few, many)]
    child = [each["build"].child_peak for each in (few, many)]
    ratio = sum((peaks[1], child[1])) / sum((peaks[0], child[0]))
    shown = f"{peaks[1] / 1e6:.0f} MB more and {child[1] / 1e6:.0f} MB in a decode process; × {ratio:.2f}"
    return [*lines, Line("build, peak of memory against the same", "≤ 1.3 ×", shown, ratio <= 1.3)]


def _gbps(found: SimpleNamespace) -> float:
    return float(found.data / found.cpu / 1e9)


def _seconds(found: SimpleNamespace) -> str:
    return f"{found.cpu:.2f} s of processor, {found.wall:.2f} s passed"


def _rate(found: SimpleNamespace) -> str:
    return f"{_gbps(found):.2f} GB/s: {found.data / 1e9:.2f} GB, {_seconds(found)}"


def _memory(found: SimpleNamespace) -> str:
    share = found.peak / found.data
    return f"{share:.2f} ×: {found.peak / 1e9:.2f} GB for {found.data / 1e9:.2f} GB, {_seconds(found)}"


def run(folder: Path, rows: int, samples: int) -> list[Line]:
    """The whole table."""
    folder.mkdir(parents=True, exist_ok=True)
    return [*measure_cache(folder, rows), *measure_builds(folder, samples)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=120_000, help="of the cache that is loaded")
    parser.add_argument("--samples", type=int, default=20_000, help="of the larger build")
    parser.add_argument(
        "--folder", type=Path, help="kept; what is there goes on  [default: removed in the end]"
    )
    asked = parser.parse_args(arguments)
    if asked.folder is not None:
        lines = run(asked.folder, asked.rows, asked.samples)
    else:
        with tempfile.TemporaryDirectory(prefix="limits-") as scratch:
            lines = run(Path(scratch), asked.rows, asked.samples)
    print(Line("what", "aim", "measured"))
    print(f"|{'-' * 46}|{'-' * 14}|{'-' * 60}|{'-' * 8}|")
    for line in lines:
        print(line)
    missed = [line.what for line in lines if line.ok is False]
    print(f"missed: {'; '.join(missed)}" if missed else "every aim is met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
