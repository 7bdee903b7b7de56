"""Clips a second of each decoder on given files, one process and one thread.

    python -m pipelines.bench_decode ../shared/data/ntu/nturgb+d_rgb

``pyav`` and ``decord`` are what ``mmcl-cache build --decoder`` runs, checks included; ``in sequence`` decodes with
PyAV up to the last wanted frame, which is the plain way to be right. Decoders take turns on every file, so that
other load on the machine falls on all of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from mmcl_cache.errors import SampleError
from mmcl_cache.video.decode import Frames, read_frames
from mmcl_cache.video.decode_decord import has_decord
from mmcl_cache.video.decode_pyav import read_pyav
from mmcl_cache.video.frames import choose_frames

TILES = 5
SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".webm", ".mov"})
Decoder = Callable[[Path], Frames]


def choose(num_frames: int) -> np.ndarray:
    """The published frames."""
    return choose_frames(num_frames, TILES)


def read_sequential(path: Path) -> Frames:
    """Decode from the first frame to the last wanted one, converting the wanted ones alone."""
    (images, indices, num_frames), facts, how = read_pyav(path, choose, allow_runs=False)
    return Frames([images[i] for i in indices.tolist()], indices, num_frames, facts.fps, f"pyav-{how}")


DECODERS: dict[str, Decoder] = {
    "in sequence": read_sequential,
    "pyav": lambda path: read_frames(path, choose, "pyav"),
    "decord": lambda path: read_frames(path, choose, "decord"),
}


def list_videos(places: Iterable[Path]) -> list[Path]:
    """The files named, and the videos of the folders named, in order of their names."""
    found: list[Path] = []
    for place in places:
        inside = (
            sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES) if place.is_dir() else [place]
        )
        found.extend(inside)
    return found


def measure(videos: list[Path], names: list[str], repeats: int) -> dict[str, tuple[float, float, int, str]]:
    """Decoder → (wall seconds, CPU seconds, clips read, how they were read)."""
    wall = dict.fromkeys(names, 0.0)
    cpu = dict.fromkeys(names, 0.0)
    clips = dict.fromkeys(names, 0)
    ways: dict[str, set[str]] = {name: set() for name in names}
    for _ in range(repeats):
        for video in videos:
            for name in names:
                start, start_cpu = time.perf_counter(), time.process_time()
                try:
                    ways[name].add(DECODERS[name](video).decoder)
                    clips[name] += 1
                except SampleError as error:
                    print(f"  {name}: {error}")
                wall[name] += time.perf_counter() - start
                cpu[name] += time.process_time() - start_cpu
    return {name: (wall[name], cpu[name], clips[name], ", ".join(sorted(ways[name]))) for name in names}


def main() -> None:
    """Print one line a decoder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    names = [name for name in DECODERS if name != "decord" or has_decord()]
    videos = list_videos(options.videos)
    measure(videos, names, 1)  # the first reading fills the page cache and loads the libraries
    for name, (wall, cpu, clips, ways) in measure(videos, names, options.repeats).items():
        rate = clips / wall if wall else 0.0
        print(f"{name:12s} {rate:7.2f} clips/s   {1000 * cpu / max(clips, 1):7.1f} CPU ms a clip   {ways}")


if __name__ == "__main__":
    main()
