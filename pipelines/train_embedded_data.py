"""Training strips for the embedded models: clips of other seeds than any demo's, with what is true of each.

Only the frames of the strip are drawn; those of one clip in five go into an MPEG-4 file and back, and so carry its
marks. Boxes, tiles and JPEG are `mmcl_cache.video`'s own, so a training strip is what a build makes.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mmcl_cache.demo.clips import FPS, Clip, ClipId, compose_clip, plan_clips
from mmcl_cache.demo.figure import JOINTS
from mmcl_cache.demo.objects import KINDS
from mmcl_cache.demo.render import render_frame
from mmcl_cache.demo.write import write_video
from mmcl_cache.video.crop import Box, person_boxes
from mmcl_cache.video.decode import read_frames
from mmcl_cache.video.frames import choose_frames
from mmcl_cache.video.strip import decode_jpeg, encode_jpeg, make_strip

SIZE = 160  # px, what both models see of a strip
GRID = 10  # cells a side of the object map
TILES, TILE = 5, (96, 480)
OBJECTS = ("nothing", *KINDS)
PEOPLE = ("one", "two")
HEIGHTS = ("low", "middle", "high")
CLIPS_A_SEED = 96


@dataclass(frozen=True)
class Examples:
    """N strips and what is true of them; the index of a label is its place in OBJECTS, PEOPLE, HEIGHTS."""

    strips: np.ndarray  # (N, SIZE, SIZE, 3) uint8
    objects: np.ndarray  # (N,)
    people: np.ndarray  # (N,)
    heights: np.ndarray  # (N,) how high a hand gets
    maps: np.ndarray  # (N, GRID, GRID) uint8: the object in each cell, 0 none

    def __len__(self) -> int:
        return len(self.strips)


def load_examples(path: Path, seeds: range, workers: int) -> Examples:
    """The examples of the given seeds, from `path` (.npz) where they were drawn before."""
    if not path.exists():
        start = time.perf_counter()
        tasks = [(clip, seed) for seed in seeds for clip in plan_clips(CLIPS_A_SEED)]
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            rows: list[tuple[np.ndarray, ...]] = pool.starmap(make_example, tasks, chunksize=16)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".part").open("wb") as file:
            strips, objects, people, heights, maps = (np.stack(column) for column in zip(*rows, strict=True))
            np.savez(file, strips=strips, objects=objects, people=people, heights=heights, maps=maps)
        os.replace(path.with_suffix(".part"), path)
        print(f"{len(rows)} strips drawn in {time.perf_counter() - start:.0f} s", flush=True)
    with np.load(path) as file:
        return Examples(**{name: file[name] for name in file.files})


def make_example(clip_id: ClipId, seed: int) -> tuple[np.ndarray, ...]:
    """One strip at SIZE px, object, people, height and object map."""
    rng = np.random.default_rng((seed, 7, clip_id.action, clip_id.subject, clip_id.camera))
    clip = compose_clip(clip_id, seed)
    sampling = "published" if rng.random() < 0.75 else "centre"
    indices = choose_frames(clip.length, TILES, sampling)
    pixels = clip.stage.camera.colour(clip.reading.joints)
    pixels[~clip.reading.present] = np.nan
    images = _through_video(clip, indices) if rng.random() < 0.2 else _draw(clip, indices)
    size = (images[0].shape[1], images[0].shape[0])
    scope = "clip" if rng.random() < 0.7 else "frame"
    boxes = (
        person_boxes(pixels, indices, size, float(rng.uniform(0.05, 0.25)), scope)
        or [Box(0, 0, *size)] * TILES
    )
    strip = decode_jpeg(encode_jpeg(make_strip(images, boxes, TILE), int(rng.integers(80, 97))))
    small = Image.fromarray(strip).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    kind = OBJECTS.index(clip.held) if clip.held != "none" else 0
    return (
        np.asarray(small),
        np.asarray(kind),
        np.asarray(clip.people - 1),
        _height(clip, indices),
        _map(clip, indices, boxes),
    )


def _draw(clip: Clip, indices: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(render_frame(clip.stage, int(t))) for t in indices]


def _through_video(clip: Clip, indices: np.ndarray) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.avi"
        write_video(path, (render_frame(clip.stage, int(t)) for t in indices), FPS)
        return list(read_frames(path, np.arange).images)


def _height(clip: Clip, indices: np.ndarray) -> np.ndarray:
    """How high any hand gets in the frames shown: below the belly, below the shoulders, above."""
    highest = 0
    for actor in clip.stage.actors:
        up = actor.joints[indices][..., 1]
        hands = up[:, [JOINTS.index("l_hand"), JOINTS.index("r_hand")]]
        for level, name in ((1, "spine_mid"), (2, "spine_shoulder")):
            if (hands > up[:, [JOINTS.index(name)]]).any():
                highest = max(highest, level)
    return np.asarray(highest)


def _map(clip: Clip, indices: np.ndarray, boxes: list[Box]) -> np.ndarray:
    """(GRID, GRID) uint8: in which cells of the strip the object is; each cell it covers in part counts."""
    found = np.zeros((GRID, GRID), np.uint8)
    cells = GRID // TILES
    for track in clip.stage.tracks:
        half = np.array(KINDS[track.kind]) / 2 * 0.8
        for k, (t, box) in enumerate(zip(indices, boxes, strict=True)):
            seen = clip.stage.camera.see(track.centre[t])
            centre = clip.stage.camera.colour(seen)
            reach = half * clip.stage.camera.pixels_per_metre(seen)
            low = (centre - reach - (box.left, box.top)) / (box.right - box.left, box.bottom - box.top)
            high = (centre + reach - (box.left, box.top)) / (box.right - box.left, box.bottom - box.top)
            x0, x1 = (int(np.clip(np.floor(v * cells), 0, cells)) for v in (low[0], high[0] + 1 / cells))
            y0, y1 = (int(np.clip(np.floor(v * GRID), 0, GRID)) for v in (low[1], high[1] + 1 / GRID))
            found[y0:y1, k * cells + x0 : k * cells + x1] = OBJECTS.index(track.kind)
    return found
