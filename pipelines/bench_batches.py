"""Time the assembly of training batches against the published per-sample way, on generated NTU-size clips, in one run.

    python pipelines/bench_batches.py --samples 2000 --batch 64 --threads 2

Plain is what the published feeder does for a sample, in one process: (C, 300, V, M) zero-padded array, count
of the valid frames, crop, interpolate, one rotation; then the samples stacked. Both are timed in turns. On a
machine that does other work too, look at the fastest.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mmcl_cache.store import LAYOUTS, Columns, Description, Ragged
from mmcl_train.data.clips import ClipSettings
from mmcl_train.data.resident import ResidentSplit, SplitSettings
from mmcl_train.data.streams import STREAMS, apply_stream
from mmcl_train.engine.plain_batches import PADDED, cut_one_by_one

JOINTS, CHANNELS, BODIES, LENGTH = 25, 3, 2, 64


def make_split(samples: int, mean_frames: int, stream: str, device: torch.device) -> ResidentSplit:
    """Samples of two bodies and a mean count of frames, values at random."""
    rng = np.random.default_rng(0)
    frames = np.clip(rng.normal(mean_frames, 25, samples), 20, PADDED).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(frames.astype(np.int64) * BODIES)])
    flat = rng.standard_normal((int(offsets[-1]), JOINTS, CHANNELS), dtype=np.float32)
    ids = np.array([f"s{n:06d}" for n in range(samples)])
    reasons = Ragged(np.zeros(0, np.uint8), np.zeros(samples + 1, np.int64), is_text=True)
    values: dict[str, np.ndarray | Ragged] = {
        "joints": Ragged(flat, offsets),
        "frames": frames,
        "bodies": np.full(samples, BODIES, np.int32),
    }
    columns = Columns(ids, np.full(samples, "ok"), reasons, values)
    description = Description("bench", tuple("abcdefghij"), LAYOUTS["ntu25"], BODIES, ())
    settings = SplitSettings(stream, ClipSettings(length=LENGTH))
    return ResidentSplit(description, ids, np.arange(samples) % 10, columns, None, None, settings, device)


def pad_samples(split: ResidentSplit, count: int) -> list[np.ndarray]:
    """(C, 300, V, M) arrays of the first samples, as the published file holds them."""
    padded = []
    for row in range(count):
        start, frames = int(split._data["starts"][row]), int(split._data["frames"][row])
        joints = split._data["flat"][start : start + frames * BODIES].view(frames, BODIES, JOINTS, CHANNELS)
        whole = np.zeros((CHANNELS, PADDED, JOINTS, BODIES), np.float32)
        whole[:, :frames] = joints.permute(3, 0, 2, 1).cpu().numpy()
        padded.append(whole)
    return padded


def time_alternately(
    ways: dict[str, Callable[[], object]], repeats: dict[str, int], device: torch.device
) -> dict[str, tuple[float, float]]:
    """Median and fewest seconds of a call of each, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(max(repeats.values())):
        for name, way in ways.items():
            if round_ >= repeats[name]:
                continue
            start = time.perf_counter()
            way()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[name].append(time.perf_counter() - start)
    return {name: (float(np.median(found)), min(found)) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--frames", type=int, default=75, help="mean frames of a sample")
    parser.add_argument("--stream", choices=tuple(STREAMS), default="joint")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    split = make_split(asked.samples, asked.frames, asked.stream, device)
    padded = pad_samples(split, min(asked.samples, 256))
    generator = torch.Generator(device).manual_seed(0)
    rng = np.random.default_rng(1)

    def ours() -> Tensor:
        rows = torch.randint(len(split), (asked.batch,), generator=generator, device=device)
        return split.batch(rows, generator, train=True).joints

    def plain() -> Tensor:
        chosen = rng.integers(0, len(padded), asked.batch)
        clips = cut_one_by_one(chosen.tolist(), padded, split.settings.clip, rng)
        return apply_stream(clips, asked.stream, LAYOUTS["ntu25"]).to(device)

    found = time_alternately({"ours": ours, "plain": plain}, {"ours": 200, "plain": 20}, device)
    print(
        f"{asked.batch} clips of {asked.frames} frames on average, {BODIES} bodies, {LENGTH} frames out, "
        f"stream {asked.stream}, {device}, {torch.get_num_threads()} threads"
    )
    for name, (median, fastest) in found.items():
        clip = 1e3 / asked.batch
        print(f"{name:>6}: median {median * clip:.4f} ms a clip, fastest {fastest * clip:.4f} ms a clip")
    print(
        f" ratio: {found['plain'][0] / found['ours'][0]:.1f} median, {found['plain'][1] / found['ours'][1]:.1f} fastest"
    )


if __name__ == "__main__":
    main()
