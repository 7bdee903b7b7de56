"""Generate the demo data set: every clip's video and skeleton, then `demo.json`, which says that it is complete."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mmcl_cache.demo.actions import CLASSES
from mmcl_cache.demo.clips import FPS, ClipId, compose_clip, plan_clips
from mmcl_cache.demo.render import render_frame
from mmcl_cache.demo.write import write_skeleton, write_video
from mmcl_cache.errors import SourceError

__all__ = ["SKELETONS", "VIDEOS", "generate_demo", "read_settings", "write_clip"]

VIDEOS, SKELETONS = "nturgb+d_rgb", "nturgb+d_skeletons"
VERSION = 2  # of the generator: raise it when the same seed gives other clips
COMPLETE, UNFINISHED = "demo.json", "demo.unfinished.json"


def generate_demo(
    root: Path,
    *,
    clips: int = 400,
    seed: int = 0,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the demo below `root`; nothing happens where it is complete, and an unfinished one is continued.

    Args:
        root: folder of the data set; made when absent.
        clips: number of clips, >= 1.
        seed: everything of a clip follows from the seed and the clip's id.
        workers: spawned processes; 1 works in this process.
        progress: called with the clips done and the number of clips.

    Raises:
        SourceError: `root` holds a demo of other settings, or other files and no demo.
        ValueError: clips or workers < 1.
    """
    if clips < 1 or workers < 1:
        raise ValueError(f"clips and workers must be at least 1, not {clips} and {workers}")
    settings = {"version": VERSION, "clips": clips, "seed": seed, "fps": FPS, "classes": list(CLASSES)}
    present = read_settings(root)
    if present is not None:
        if present != settings:
            names = [key for key in settings if present.get(key) != settings[key]]
            raise SourceError(
                f"{root}: holds a demo with another {', '.join(names)}; take another folder or delete this one"
            )
        return
    _claim(root, settings)
    ids = plan_clips(clips)
    for done, _ in enumerate(_write_all(root, ids, seed, workers), start=1):
        if progress is not None:
            progress(done, len(ids))
    os.replace(root / UNFINISHED, root / COMPLETE)


def read_settings(root: Path) -> dict[str, Any] | None:
    """The settings of the complete demo in `root`, or None where there is none.

    Raises:
        SourceError: the file is damaged.
    """
    return _read_json(root / COMPLETE)


def write_clip(clip: ClipId, root: Path, seed: int) -> None:
    """Write both files of one clip, each renamed into place; a clip that has both is left alone."""
    video, skeleton = root / VIDEOS / f"{clip}_rgb.avi", root / SKELETONS / f"{clip}.skeleton"
    if video.exists() and skeleton.exists():
        return
    composed = compose_clip(clip, seed)
    write_skeleton(skeleton, composed.reading, composed.stage.camera)
    write_video(video, (render_frame(composed.stage, t) for t in range(composed.length)), FPS)


def _write_all(root: Path, ids: tuple[ClipId, ...], seed: int, workers: int) -> Iterator[None]:
    write = partial(write_clip, root=root, seed=seed)
    if workers == 1 or len(ids) == 1:
        yield from map(write, ids)
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(ids))) as pool:
        yield from pool.imap_unordered(write, ids, chunksize=4)


def _claim(root: Path, settings: dict[str, Any]) -> None:
    """Make the folders and note the settings, so that a broken run is only continued with its own."""
    begun = _read_json(root / UNFINISHED)
    if begun is None and root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise SourceError(f"{root}: holds other files and no demo; take an empty or a new folder")
    if begun is not None and begun != settings:
        raise SourceError(
            f"{root}: holds an unfinished demo of other settings; take another folder or delete this one"
        )
    for folder in (VIDEOS, SKELETONS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    unfinished = root / (UNFINISHED + ".part")
    unfinished.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, root / UNFINISHED)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise SourceError(
            f"{path}: is damaged ({error}); delete the folder, it will be generated again"
        ) from error
    if not isinstance(values, dict):
        raise SourceError(f"{path}: is damaged; delete the folder, it will be generated again")
    return values
