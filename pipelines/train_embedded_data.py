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

TILES, TILE = 5, (96, 480)
OBJECTS = ("nothing", *KINDS)
PEOPLE = ("one", "two")
HEIGHTS = ("low", "middle", "high")
CLIPS_A_SEED = 96


@dataclass(frozen=True)
class Examples:
    """N strips and what is true of them; the index of a label is its place in OBJECTS, PEOPLE, HEIGHTS."""

    strips: np.ndarray  # (N, size, size, 3) uint8
    objects: np.ndarray  # (N,)
    people: np.ndarray  # (N,)
    heights: np.ndarray  # (N,) how high a hand gets
    maps: np.ndarray  # (N, grid, grid) uint8: the object in each cell, 0 none

    def __len__(self) -> int:
        return len(self.strips)


def draw_examples(path: Path, seeds: range, workers: int) -> None:
    """Draw the strips of the given seeds into `path` (.npz), unless it is there."""
    if path.exists():
        return
    start = time.perf_counter()
    tasks = [(clip, seed) for seed in seeds for clip in plan_clips(CLIPS_A_SEED)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        rows: list[tuple[bytes, list[int], np.ndarray]] = pool.starmap(draw_strip, tasks, chunksize=16)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".part").open("wb") as file:
        np.savez(
            file,
            jpeg=np.frombuffer(b"".join(row[0] for row in rows), np.uint8),
            ends=np.cumsum([len(row[0]) for row in rows]),
            labels=np.array([row[1] for row in rows]),
            places=np.stack([row[2] for row in rows]),
        )
    os.replace(path.with_suffix(".part"), path)
    print(f"{len(rows)} strips drawn in {time.perf_counter() - start:.0f} s", flush=True)


def load_examples(path: Path, size: int, grid: int) -> Examples:
    """The drawn strips at size x size px, resized as the image processors do, with maps of grid x grid cells."""
    with np.load(path) as file:
        jpeg, ends, labels, places = (file[name] for name in ("jpeg", "ends", "labels", "places"))
    strips = np.empty((len(ends), size, size, 3), np.uint8)
    for n, stop in enumerate(ends):
        whole = decode_jpeg(jpeg[ends[n - 1] if n else 0 : stop].tobytes())
        strips[n] = np.asarray(Image.fromarray(whole).resize((size, size), Image.Resampling.BICUBIC))
    maps = np.stack([_map(where, label, grid) for where, label in zip(places, labels[:, 0], strict=True)])
    objects, people, heights = labels.T
    return Examples(strips, objects, people, heights, maps)


def draw_strip(clip_id: ClipId, seed: int) -> tuple[bytes, list[int], np.ndarray]:
    """One strip as JPEG, its [object, people, height], and where the object is: (TILES, 4), see `_place`."""
    rng = np.random.default_rng((seed, 7, clip_id.action, clip_id.subject, clip_id.camera))
    clip = compose_clip(clip_id, seed)
    sampling = "published" if rng.random() < 0.75 else "centre"
    indices = choose_frames(clip.length, TILES, sampling)
    pixels = clip.stage.camera.colour(clip.reading.joints)
    pixels[~clip.reading.present] = np.nan
    images = _through_video(clip, indices) if rng.random() < 0.2 else _draw(clip, indices)
    size = (images[0].shape[1], images[0].shape[0])
    scope = "clip" if rng.random() < 0.7 else "frame"
    slack = float(rng.uniform(0.05, 0.25))
    boxes = person_boxes(pixels, indices, size, slack, scope) or [Box(0, 0, *size)] * TILES
    jpeg = encode_jpeg(make_strip(images, boxes, TILE), int(rng.integers(80, 97)))
    kind = OBJECTS.index(clip.held) if clip.held != "none" else 0
    return jpeg, [kind, clip.people - 1, _height(clip, indices)], _place(clip, indices, boxes)


def _draw(clip: Clip, indices: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(render_frame(clip.stage, int(t))) for t in indices]


def _through_video(clip: Clip, indices: np.ndarray) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.avi"
        write_video(path, (render_frame(clip.stage, int(t)) for t in indices), FPS)
        return list(read_frames(path, np.arange).images)


def _height(clip: Clip, indices: np.ndarray) -> int:
    """How high any hand gets in the frames shown: below the belly, below the shoulders, above."""
    highest = 0
    for actor in clip.stage.actors:
        up = actor.joints[indices][..., 1]
        hands = up[:, [JOINTS.index("l_hand"), JOINTS.index("r_hand")]]
        for level, name in ((1, "spine_mid"), (2, "spine_shoulder")):
            if (hands > up[:, [JOINTS.index(name)]]).any():
                highest = max(highest, level)
    return highest


def _place(clip: Clip, indices: np.ndarray, boxes: list[Box]) -> np.ndarray:
    """(TILES, 4) the object's left, top, right, bottom as shares of each tile's width and height; NaN for none."""
    places = np.full((TILES, 4), np.nan)
    for track in clip.stage.tracks:
        half = np.array(KINDS[track.kind]) / 2 * 0.8
        for k, (t, box) in enumerate(zip(indices, boxes, strict=True)):
            seen = clip.stage.camera.see(track.centre[t])
            centre = clip.stage.camera.colour(seen) - (box.left, box.top)
            reach = half * clip.stage.camera.pixels_per_metre(seen)
            extent = (box.right - box.left, box.bottom - box.top)
            places[k] = *((centre - reach) / extent), *((centre + reach) / extent)
    return places


def _map(places: np.ndarray, kind: int, grid: int) -> np.ndarray:
    """(grid, grid) uint8: in which cells of the strip the object is; each cell it covers in part counts."""
    found = np.zeros((grid, grid), np.uint8)
    cells = grid // TILES
    for k, place in enumerate(places):
        if np.isfinite(place).all():
            left, top, right, bottom = place * (cells, grid, cells, grid)
            columns = slice(int(np.clip(left, 0, cells)), int(np.clip(right + 1, 0, cells)))
            rows = slice(int(np.clip(top, 0, grid)), int(np.clip(bottom + 1, 0, grid)))
            found[rows, k * cells : (k + 1) * cells][:, columns] = kind
    return found
