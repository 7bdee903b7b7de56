"""How fast `.skeleton` files are read and denoised, on one core.

    python pipelines/bench_skeletons.py ../shared/data/ntu/nturgb+d_skeletons

Given a folder, its files are read in turn until the seconds are over; without one, text like that of NTU is made up.
The files are in memory and the clock counts this process alone: what is measured is parsing, not the disk and not
what else the machine does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.denoise import denoise_ntu
from mmcl_cache.skeletons.ntu import parse_ntu_skeleton


def make_text(frames: int = 90, bodies: int = 1, seed: int = 0) -> bytes:
    """A file as the sensor writes it: seven significant digits, 25 joints, ids above 2^53."""
    rng = np.random.default_rng(seed)
    lines = [str(frames)]
    for _ in range(frames):
        lines.append(str(bodies))
        for body in range(bodies):
            lines += [f"{72057594037931101 + 42 * body} 0 1 1 0 0 0 -0.06284843 -0.04809928 2", "25"]
            for x, y, z, a, b, c, d in rng.uniform(-1, 1, (25, 7)):
                place = (
                    f"{x:.7g} {y:.7g} {3 + z:.7g} {256 + 100 * x:.7g} {212 - 100 * y:.7g} {960 + 300 * x:.7g}"
                )
                lines.append(f"{place} {540 - 300 * y:.7g} {a:.7g} {b:.7g} {c:.7g} {d:.7g} 2")
    return "\n".join(lines).encode()


def measure(
    files: dict[Path, bytes], work: Callable[[bytes, Path], object], seconds: float
) -> tuple[float, float]:
    """(MB, files) a second of processor time, from going round the files for `seconds`, at least once."""
    read_bytes = read_files = 0
    start = time.process_time()
    while True:
        for path, data in files.items():
            work(data, path)
            read_bytes += len(data)
            read_files += 1
        passed = time.process_time() - start
        if passed >= seconds:
            return read_bytes / passed / 1e6, read_files / passed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="of .skeleton files; made-up text without it")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each of the two measurements")
    parser.add_argument("--most", type=int, default=500, help="files to take")
    arguments = parser.parse_args()
    if arguments.folder is None:
        files = {Path(f"made-up-{n}.skeleton"): make_text(bodies=1 + n % 2, seed=n) for n in range(4)}
    else:
        paths = sorted(arguments.folder.rglob("*.skeleton"))[: arguments.most]
        if not paths:
            raise SystemExit(f"no .skeleton files below {arguments.folder}")
        files = {path: path.read_bytes() for path in paths}
    for path, data in list(files.items()):
        try:
            denoise_ntu(parse_ntu_skeleton(data, path))
        except SampleError as error:
            print(f"left out: {error}")
            del files[path]
    print(
        f"{len(files)} files, {sum(map(len, files.values())) / 1e6:.2f} MB, one core, per second of processor time"
    )
    steps: dict[str, Callable[[bytes, Path], object]] = {
        "parse": parse_ntu_skeleton,
        "parse and denoise": lambda data, path: denoise_ntu(parse_ntu_skeleton(data, path)),
    }
    for name, work in steps.items():
        megabytes, clips = measure(files, work, arguments.seconds)
        print(f"{name}: {megabytes:.0f} MB/s, {clips:.0f} clips/s")


if __name__ == "__main__":
    main()
