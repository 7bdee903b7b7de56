"""What a build would meet: counts and bytes of a data set that was found, before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmcl_cache.datasets.dataset import TEST, TRAIN, Dataset
from mmcl_cache.datasets.tree import IMAGE_SUFFIXES

MOST_ASKED = 20_000
"""With more files than this the disk is asked about some, evenly spread, and the rest is estimated."""


@dataclass(frozen=True)
class PlanSummary:
    """Counts of samples and bytes.

    Args:
        samples: all of them; the next four add up to it.
        complete, no_video, no_skeleton, nothing: with both files, with one of them, with neither.
        no_video_ids, no_skeleton_ids: the first few of them.
        video_bytes, skeleton_bytes: to read.
        estimated: the bytes are estimated from some of the files.
        splits: protocol → (train, test).
        notes: of the data set.
    """

    samples: int
    complete: int
    no_video: int
    no_skeleton: int
    nothing: int
    no_video_ids: tuple[str, ...]
    no_skeleton_ids: tuple[str, ...]
    video_bytes: int
    skeleton_bytes: int
    estimated: bool
    splits: dict[str, tuple[int, int]]
    notes: tuple[str, ...]


def plan_summary(dataset: Dataset, shown: int = 5) -> PlanSummary:
    """The counts of a data set; no file is opened, a file that is gone counts 0 bytes.

    Args:
        shown: how many ids to name of those that lack something.
    """
    no_video = [s.sample_id for s in dataset.samples if s.video is None and s.skeleton is not None]
    no_skeleton = [s.sample_id for s in dataset.samples if s.skeleton is None and s.video is not None]
    nothing = sum(s.skeleton is None and s.video is None for s in dataset.samples)
    videos = [s.video for s in dataset.samples if s.video is not None]
    skeletons = [s.skeleton for s in dataset.samples if s.skeleton is not None]
    ids = {s.sample_id for s in dataset.samples}
    return PlanSummary(
        samples=len(dataset.samples),
        complete=len(dataset.samples) - len(no_video) - len(no_skeleton) - nothing,
        no_video=len(no_video),
        no_skeleton=len(no_skeleton),
        nothing=nothing,
        no_video_ids=tuple(no_video[:shown]),
        no_skeleton_ids=tuple(no_skeleton[:shown]),
        video_bytes=_count_bytes(videos),
        skeleton_bytes=_count_bytes(skeletons),
        estimated=max(len(videos), len(skeletons)) > MOST_ASKED,
        splits={
            protocol: (
                sum(split == TRAIN for sample_id, split in members.items() if sample_id in ids),
                sum(split == TEST for sample_id, split in members.items() if sample_id in ids),
            )
            for protocol, members in dataset.splits.items()
        },
        notes=dataset.notes,
    )


def _count_bytes(paths: Sequence[Path]) -> int:
    step = -(-len(paths) // MOST_ASKED) or 1
    asked = paths[::step]
    found = sum(map(_size, asked))
    return found if step == 1 else round(found / len(asked) * len(paths))


def _size(path: Path) -> int:
    """Bytes of a file, or of the images in a folder; 0 where it is gone."""
    try:
        about = os.stat(path)
        if not os.path.isdir(path):
            return about.st_size
        with os.scandir(path) as entries:
            return sum(e.stat().st_size for e in entries if e.name.lower().endswith(IMAGE_SUFFIXES))
    except OSError:
        return 0
