"""One measurement in a process of its own, so that memory and times are its own: prints one line of JSON.

python -m pipelines.limits_measure features CACHE
"""

from __future__ import annotations

import gc
import hashlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from mmcl_cache.build import run_build
from mmcl_cache.config import BuildConfig
from mmcl_cache.datasets.plan import plan_summary
from mmcl_cache.plan import scan_dataset
from mmcl_cache.status import cache_status, format_status
from mmcl_cache.store import Ragged, open_cache, verify
from mmcl_train.data.features import load_rgb, load_text
from mmcl_train.data.resident import SplitSettings, load_split

FEATURES = SplitSettings(text_variant="default", rgb_variant="default")


FRESH = 1 << 30  # bytes of memory to ask for
REPEATS = 5  # of what is judged and short; the fastest counts
LONG = 4.0  # s


@dataclass
class Measurement:
    """wall, cpu: s; cpu of all threads and processes. data: bytes in hand at the end. peak: bytes of memory more than
    before. child_peak: bytes, the largest of the processes it started. count: of what was done."""

    wall: float = 0.0
    cpu: float = 0.0
    data: int = 0
    peak: int = 0
    child_peak: int = 0
    count: int = 0


@contextmanager
def measured(into: Measurement) -> Iterator[None]:
    """Fill in what the block takes."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest memory so far
    memory, cpu, wall = _memory("VmRSS"), _cpu(), time.perf_counter()
    yield
    into.wall, into.cpu = time.perf_counter() - wall, _cpu() - cpu
    into.peak = _memory("VmHWM") - memory
    into.child_peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _memory(name: str) -> int:
    """Bytes: VmRSS now, VmHWM at most so far. Of this program alone, unlike getrusage's peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def _make_ready(path: Path, num_bytes: int) -> None:
    """Files into the page cache and memory into the machine's hand: a virtual machine may have to ask for both."""
    for file in sorted(path.rglob("*.h5")):
        file.read_bytes()
    np.empty(num_bytes, np.uint8)[::4096] = 0


def measure_open(path: Path) -> Measurement:
    found = Measurement()
    with measured(found):
        cache = open_cache(path)
        for name, variants in cache.fields().items():
            for variant in variants:
                cache.field(name, variant)
    found.count = len(cache.samples)
    return found


def measure_status(path: Path) -> Measurement:
    def work(found: Measurement) -> None:
        found.count = len(format_status(cache_status(open_cache(path))))

    return _repeat(work)


def measure_first(path: Path) -> Measurement:
    """Text and rgb of the training split with every column: once."""
    for name in ("text", "rgb"):
        _make_ready(path / name, 0)
    return _load_columns(path)


def measure_columns(path: Path) -> Measurement:
    """The same with files in the page cache: the fastest of some times."""
    return _fastest(path, _load_columns)


def measure_features(path: Path) -> Measurement:
    """The two columns of text and rgb that a run takes if nothing is said, of its training split."""
    return _fastest(path, _load_features)


def _repeat(work: Callable[[Measurement], None]) -> Measurement:
    """The fastest of some times; of one where that takes long, for then other work disturbs it little."""
    tries: list[Measurement] = []
    while len(tries) < REPEATS and sum(found.cpu for found in tries) < LONG:
        tries.append(Measurement())
        with measured(tries[-1]):
            work(tries[-1])
    return min(tries, key=lambda found: found.cpu)


def _fastest(path: Path, load: Callable[[Path], Measurement]) -> Measurement:
    size = load(path).data
    for name in ("text", "rgb"):
        _make_ready(path / name, size)
    return min((load(path) for _ in range(REPEATS)), key=lambda found: found.cpu)


def _load_columns(path: Path) -> Measurement:
    cache, found = open_cache(path), Measurement()
    ids = cache.samples.select("xsub", "train")
    with measured(found):
        loaded = [cache.field(name).load(ids) for name in ("text", "rgb")]
    columns = [column for each in loaded for column in each.values.values()]
    found.data = sum((c.flat if isinstance(c, Ragged) else c).nbytes for c in columns)
    found.count = len(ids)
    return found


def _load_features(path: Path) -> Measurement:
    cache, found = open_cache(path), Measurement()
    ids = cache.samples.select("xsub", "train")
    with measured(found):
        text = load_text(cache.field("text"), ids, FEATURES.text_feature)
        rgb = load_rgb(cache.field("rgb"), ids, FEATURES.rgb_feature)
    found.data, found.count = text.values.nbytes + rgb.values.nbytes, len(ids)
    return found


def measure_skeletons(path: Path) -> Measurement:
    """The skeletons of all rows."""
    cache, found = open_cache(path), Measurement()
    field, ids = cache.field("skeleton"), cache.samples.sample_ids
    _make_ready(path / "skeleton", sum(file.stat().st_size for file in field.folder.glob("*.h5")))
    with measured(found):
        columns = field.load(ids, ("joints", "frames", "bodies"), spare=1)
    found.data, found.count = columns["joints"].flat.nbytes, len(ids)
    return found


def measure_split(path: Path) -> Measurement:
    """All rows of skeleton, text and rgb where a training takes its batches from."""
    cache, found = open_cache(path), Measurement()
    with measured(found):
        split = load_split(cache, cache.samples.sample_ids, "cpu", FEATURES)
    found.data, found.count = split.num_bytes, len(split)
    return found


def measure_verify(path: Path) -> Measurement:
    cache = open_cache(path)

    def work(found: Measurement) -> None:
        problems = verify(cache)
        if problems:
            raise SystemExit(problems[0])

    found = _repeat(work)
    found.data = sum(file.stat().st_size for file in path.rglob("*.h5"))
    found.count = cache.num_shards * len(cache.fields())
    return found


def measure_hash(path: Path) -> Measurement:
    """What one thread needs to read and hash the features' files, and nothing else."""
    found = Measurement()
    _make_ready(path / "text", 0)
    _make_ready(path / "rgb", 0)
    with measured(found):
        for file in sorted([*path.glob("text/*/*.h5"), *path.glob("rgb/*/*.h5")]):
            content = file.read_bytes()
            hashlib.sha256(content).hexdigest()
            found.data += len(content)
            found.count += 1
    return found


def measure_memory() -> Measurement:
    """What it takes to have a piece of memory that was not used before."""
    found = Measurement(data=FRESH)
    with measured(found):
        np.empty(found.data, np.uint8)[::4096] = 0
    return found


def measure_plan(source: Path) -> Measurement:
    # Without the garbage collector: its full passes come only once enough is new, none at 5,000 samples and some at
    # 20,000, and such a step says nothing of how planning grows.
    gc.disable()

    def work(found: Measurement) -> None:
        found.count = plan_summary(scan_dataset(_config(source, Path("unused")))).samples

    try:
        return _repeat(work)
    finally:
        gc.enable()


def measure_build(source: Path, cache: Path) -> Measurement:
    found = Measurement()
    with measured(found):
        found.count = run_build(_config(source, cache), quiet=True).samples
    return found


def _config(source: Path, cache: Path) -> BuildConfig:
    return BuildConfig("folder", source, cache, device="cpu", workers=1)


MEASURES: dict[str, Callable[..., Measurement]] = {
    "open": measure_open,
    "status": measure_status,
    "first": measure_first,
    "columns": measure_columns,
    "features": measure_features,
    "skeletons": measure_skeletons,
    "split": measure_split,
    "verify": measure_verify,
    "hash": measure_hash,
    "memory": measure_memory,
    "plan": measure_plan,
    "build": measure_build,
}


def main() -> None:
    torch.set_num_threads(1)
    name, *paths = sys.argv[1:]
    print(json.dumps(asdict(MEASURES[name](*(Path(path) for path in paths)))))


if __name__ == "__main__":
    main()
