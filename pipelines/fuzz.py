"""Coverage-guided fuzzing of the readers that meet files of strangers: `.skeleton` text, and the HDF5 files of caches.

    pip install atheris                       # not among the project's requirements
    python -m pipelines.fuzz skeleton --corpus fuzz/skeleton --seconds 3600
    python -m pipelines.fuzz hdf5 --corpus fuzz/hdf5 --seconds 3600

Inputs that reach new lines are kept in the corpus folder, so the next run goes on from there. Anything but a value or
the one documented error is a finding: its input is written beside the corpus, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TARGETS = ("skeleton", "hdf5")
LARGEST = {"skeleton": 1 << 15, "hdf5": 1 << 14}  # bytes of an input
_PROGRESS = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of inputs, kept and added to")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        raise SystemExit("pipelines.fuzz needs atheris, which is not here: pip install atheris")
    if arguments.here:
        fuzz_here(arguments.target, arguments.corpus, arguments.seconds)
    sys.exit(fuzz_in_child(arguments.target, arguments.corpus, arguments.seconds))


def fuzz_in_child(target: str, corpus: Path, seconds: int) -> int:
    """Fuzz in a process of its own, which a finding may take down, and tell what came of it; 1 where something did."""
    corpus.mkdir(parents=True, exist_ok=True)
    before = len(list(corpus.iterdir()))
    command = [sys.executable, "-m", "pipelines.fuzz", target, "--here"]
    child = subprocess.Popen(
        [*command, "--corpus", str(corpus), "--seconds", str(seconds)], stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    last, told = ("0", "0", "0", "0"), []
    for line in child.stderr:
        if found := _PROGRESS.match(line):
            last = found.groups()  # type: ignore[assignment]
        else:
            told.append(line)
    code = child.wait()
    executions, edges, features, inputs = last
    print(
        f"{target}: {int(executions):,} executions in {seconds / 3600:.2f} hours, coverage {edges} edges and "
        f"{features} features, corpus {inputs} inputs ({len(list(corpus.iterdir()))} files, {before} before)"
    )
    if code:
        print("".join(told[-40:]))
        print(f"{target}: a finding; its input is in {corpus.parent} (crash-…, oom-…, timeout-…)")
    return min(code, 1)


def fuzz_here(target: str, corpus: Path, seconds: int) -> None:
    """Fuzz in this process, which ends with it."""
    atheris = importlib.import_module("atheris")
    # Modules are watched from their import on, so they are imported here.
    with atheris.instrument_imports(include=["mmcl_cache"]):
        run, seeds = prepare(target)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [
        str(corpus),
        f"-max_total_time={seconds}",
        f"-max_len={LARGEST[target]}",
        f"-artifact_prefix={corpus.parent}/",
        "-rss_limit_mb=2048",
        "-timeout=20",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options], run)
    atheris.Fuzz()


def prepare(target: str) -> tuple[Callable[[bytes], None], list[bytes]]:
    """What is run on every input, and inputs to begin with."""
    return _prepare_skeleton() if target == "skeleton" else _prepare_hdf5()


def _prepare_skeleton() -> tuple[Callable[[bytes], None], list[bytes]]:
    ntu = importlib.import_module("mmcl_cache.skeletons.ntu")
    denoise = importlib.import_module("mmcl_cache.skeletons.denoise")
    errors = importlib.import_module("mmcl_cache.errors")
    bench = importlib.import_module("pipelines.bench_skeletons")
    path = Path("fuzzed.skeleton")

    def run(data: bytes) -> None:
        try:
            denoise.denoise_ntu(ntu.parse_ntu_skeleton(data, path))
        except errors.SampleError as error:
            _check_line(error)

    return run, [bench.make_text(frames=2, bodies=1), bench.make_text(frames=1, bodies=2), b"1\n0\n", b""]


def _prepare_hdf5() -> tuple[Callable[[bytes], None], list[bytes]]:
    np = importlib.import_module("numpy")
    hdf5 = importlib.import_module("mmcl_cache.store.hdf5")
    errors = importlib.import_module("mmcl_cache.errors")
    path = Path("fuzzed.h5")

    def run(data: bytes) -> None:
        try:
            places, _ = hdf5.find_arrays(path, data)
            file = hdf5.ArrayFile(path, data, places)
            for name, place in places.items():
                file.read(name, None, place.shape)
        except errors.DamagedCacheError as error:
            _check_line(error)

    return run, [_write_seed(hdf5, np, rows) for rows in (1, 3)]


def _write_seed(hdf5: Any, np: Any, rows: int) -> bytes:
    """The bytes of a small shard."""
    arrays = {
        "sample_id": np.asarray([f"S{n}".encode() for n in range(rows)]),
        "joints": np.ones((rows, 5, 3), np.float32),
        "joints.offsets": np.arange(rows + 1, dtype=np.int64),
    }
    path = Path(f"seed-{rows}.h5.tmp")
    try:
        hdf5.write_arrays(path, arrays, {"format_version": 1, "fingerprint": "0" * 64, "shard": 0})
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


def _check_line(error: Exception) -> None:
    """A message for people is one line."""
    if len(str(error).splitlines()) != 1:
        raise AssertionError(f"not one line: {error!r}")


if __name__ == "__main__":
    main()
