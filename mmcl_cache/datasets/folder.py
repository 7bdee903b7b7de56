"""Your own data: videos and poses in class folders, or listed in a CSV; 2-D or 3-D, any skeleton layout.

See `folder_tree` and `folder_table` for the two forms, and `skeletons.poses` for the pose files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmcl_cache.datasets.dataset import (
    CROP_RESIZE,
    TEST,
    TRAIN,
    UNKNOWN,
    Dataset,
    Sample,
    ScanOptions,
    choose_video,
    describe_gaps,
)
from mmcl_cache.datasets.folder_table import Entry, read_table
from mmcl_cache.datasets.folder_tree import read_tree
from mmcl_cache.datasets.tree import check_source, nothing_found
from mmcl_cache.errors import SourceError, UserError
from mmcl_cache.skeletons.poses import centre_poses, peek_shape, read_poses, select_longest
from mmcl_cache.store import LAYOUTS, CacheError, Layout, check_sample_ids
from mmcl_cache.store.json_text import parse_json
from mmcl_cache.store.regular import read_regular

NAME = "folder"
VIDEOS = ("auto", "color", "none")
TABLE, LAYOUT = "samples.csv", "layout.json"
FLAT_LAYOUTS = frozenset({"coco17", "openpose18"})
"""Layouts of pose estimators that work in the image: three values a joint are x, y and a score."""
LAYOUT_BY_JOINTS = {17: "coco17", 18: "openpose18", 20: "kinect20", 25: "ntu25", 33: "mediapipe33"}
MOST_BODIES = 2
LARGEST_LAYOUT = 1 << 20
LONGEST_NUMBER = 9
HOLDOUT = 5
"""Without a split and without subjects, every fifth clip of a class is for testing."""


def scan_folder(source: Path, options: ScanOptions) -> Dataset:
    """Your own data. A `samples.csv` in the source, or the one named, comes before class folders.

    Protocols: `split` where splits are given; `xsub` where subjects are: of the subjects in order, every second one
    tests; `holdout` where neither is: every fifth clip of a class tests.

    Raises:
        SourceError: no such folder, nothing in it, or the faults that `read_table` and `read_tree` name.
        UserError: unknown image source, unknown layout, or a layout that cannot be told.
    """
    video = choose_video(NAME, options.video, VIDEOS)
    check_source(source, NAME)
    table = options.csv or (source / TABLE if (source / TABLE).is_file() else None)
    follow = options.follow_links
    entries, notes = read_table(table, source, follow) if table else read_tree(source, follow)
    if not entries:
        raise nothing_found(source, NAME, f"{TABLE}, or class folders with videos, .npy or .npz files")
    entries = sorted(entries, key=lambda entry: entry.sample_id)
    try:
        check_sample_ids([entry.sample_id for entry in entries])
    except CacheError as error:
        raise SourceError(f"{table or source}: {error}") from None
    shapes = [shape for entry in entries if entry.skeleton and (shape := peek_shape(entry.skeleton))]
    layout, dimensions = choose_layout(options.layout, source, shapes)
    classes = order_names(entry.label for entry in entries)
    labels = {name: label for label, name in enumerate(classes)}
    subjects = number_subjects(entries)
    samples = tuple(
        Sample(
            sample_id=entry.sample_id,
            label=labels[entry.label],
            subject=subjects.get(entry.subject, UNKNOWN),
            video=entry.video if video != "none" else None,
            skeleton=entry.skeleton,
        )
        for entry in entries
    )
    num_bodies = min(max((shape[0] for shape in shapes if len(shape) == 4), default=1), MOST_BODIES)
    poses = {"centre": layout.centre, "dimensions": dimensions, "num_bodies": num_bodies}
    return Dataset(
        name=NAME,
        classes=tuple(classes),
        two_person=(),
        layout=layout,
        num_bodies=num_bodies,
        channels=3,
        clip=CROP_RESIZE,
        samples=samples,
        splits=make_splits(samples, {entry.sample_id: entry.split for entry in entries if entry.split}),
        read=partial(read_poses, num_joints=layout.num_joints, dimensions=dimensions),
        clean=partial(centre_poses, centre=layout.centre, dimensions=dimensions, num_bodies=num_bodies),
        people=partial(select_longest, num_bodies=num_bodies),
        unit="" if dimensions == 2 else "m",
        settings={"format": "poses", "layout": layout.to_json(), **poses},
        notes=tuple(notes + describe_gaps(samples, video)),
    )


def choose_layout(asked: str | None, source: Path, shapes: Sequence[tuple[int, ...]]) -> tuple[Layout, int]:
    """The layout and whether three values a joint are 2-D with a score (2) or 3-D (3).

    Args:
        asked: a name of `LAYOUTS` or a JSON file; None: `layout.json` in the source, else by the number of joints.
        shapes: of the pose files.

    Raises:
        UserError: neither a known name nor a file, a file that is no layout, or nothing to tell it by.
    """
    file = None
    if asked is None and (source / LAYOUT).is_file():
        file = source / LAYOUT
    elif asked is not None and asked not in LAYOUTS:
        file = next((p for p in (Path(asked), source / asked) if p.is_file()), None)
        if file is None:
            raise UserError(f"layout {asked!r} is neither a file nor one of {', '.join(LAYOUTS)}")
    if file is not None:
        return _read_layout(file, shapes)
    counts = Counter(shape[-2] for shape in shapes if len(shape) in (3, 4))
    if asked is None and len(counts) > 1:
        raise UserError(
            f"the pose files have {', '.join(map(str, sorted(counts)))} joints; name the layout with --layout"
        )
    if asked is None and counts and next(iter(counts)) not in LAYOUT_BY_JOINTS:
        raise UserError(
            f"no built-in layout has {next(iter(counts))} joints; give its names, parents and centre in a JSON file "
            "with --layout"
        )
    layout = LAYOUTS[asked or LAYOUT_BY_JOINTS[next(iter(counts), 17)]]
    flat = layout.name in FLAT_LAYOUTS or _two_values(shapes)
    return layout, 2 if flat else 3


def order_names(names: Iterable[str]) -> list[str]:
    """Every name once; in the order of the numbers where all are numbers."""
    distinct = set(names)
    if all(name.isdecimal() and len(name) <= LONGEST_NUMBER for name in distinct):
        return sorted(distinct, key=lambda name: (int(name), name))
    return sorted(distinct)


def number_subjects(entries: Iterable[Entry]) -> dict[str, int]:
    """Subject → number: its own where all are numbers, else its place in the order of the names, from 1."""
    names = order_names(entry.subject for entry in entries if entry.subject)
    if all(name.isdecimal() and len(name) <= LONGEST_NUMBER for name in names):
        return {name: int(name) for name in names}
    return {name: place for place, name in enumerate(names, start=1)}


def make_splits(samples: Sequence[Sample], given: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The protocols of `scan_folder`.

    Args:
        given: sample id → split, of those that have one.
    """
    splits: dict[str, dict[str, str]] = {}
    if given:
        splits["split"] = dict(given)
    subjects = sorted({s.subject for s in samples if s.subject != UNKNOWN})
    place = {subject: n for n, subject in enumerate(subjects)}
    if len(subjects) > 1:
        splits["xsub"] = {
            s.sample_id: TEST if place[s.subject] % 2 else TRAIN for s in samples if s.subject != UNKNOWN
        }
    if splits:
        return splits
    seen: Counter[int] = Counter()
    splits["holdout"] = {}
    for sample in samples:
        seen[sample.label] += 1
        # The second of the first two already, so that a class of two has one for testing.
        splits["holdout"][sample.sample_id] = TEST if seen[sample.label] % HOLDOUT == 2 else TRAIN
    return splits


def _two_values(shapes: Sequence[tuple[int, ...]]) -> bool:
    return bool(shapes) and all(shape and shape[-1] == 2 for shape in shapes)


def _read_layout(file: Path, shapes: Sequence[tuple[int, ...]]) -> tuple[Layout, int]:
    try:
        content: Any = parse_json(read_regular(file, LARGEST_LAYOUT))
        layout = Layout.from_json(content)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except CacheError as error:
        raise UserError(f"{file}: {error}") from None
    except ValueError as error:
        raise UserError(f"{file}: not JSON ({error})") from None
    dimensions = content.get("dimensions", 2 if _two_values(shapes) else 3)
    if dimensions not in (2, 3):
        raise UserError(f"{file}: dimensions {repr(dimensions)[:20]}; 2 (x, y and a score) or 3")
    return layout, dimensions
