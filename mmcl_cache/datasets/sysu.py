"""SYSU 3D Human-Object Interaction (CVPR 2015): 12 activities, 40 subjects, 480 clips, Kinect v1 skeletons.

The data was not at hand when this was written: it follows the documented layout and was tested on files made in it.
`3DvideoNorm/<subject name>/video<activity 1..12>/sklWorld.mat` below the source, variable `SW` (20, 3, T); the colour
images are looked for beside it: a video file, a folder `rgb`, `color` or `images`, or the frames themselves.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from mmcl_cache.datasets.dataset import (
    CROP_RESIZE,
    TEST,
    TRAIN,
    Dataset,
    Sample,
    ScanOptions,
    choose_layout,
    choose_video,
    describe_gaps,
)
from mmcl_cache.datasets.tree import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    add_file,
    check_source,
    nothing_found,
    walk,
)
from mmcl_cache.skeletons.bodies import Bodies
from mmcl_cache.skeletons.denoise import centre_on_first
from mmcl_cache.skeletons.matlab import read_kinect_mat

NAME = "sysu"
VIDEOS = ("auto", "color", "none")
CLASSES = (
    "drinking",
    "pouring",
    "calling phone",
    "playing phone",
    "wearing backpacks",
    "packing backpacks",
    "sitting chair",
    "moving chair",
    "taking out wallet",
    "taking from wallet",
    "mopping",
    "sweeping",
)
SUBJECTS = 40
PUBLISHED = 480
ORIGIN = 1
"""Joint index that is put into the origin in frame 0 (spine)."""
_SKELETON = "sklWorld.mat"
_ACTIVITY = re.compile(r"video(\d{1,2})", re.ASCII)
_COLOUR_FOLDERS = ("rgb", "color", "colour", "images", "image")


def scan_sysu(source: Path, options: ScanOptions) -> Dataset:
    """SYSU 3D HOI. Subjects are numbered from 1 in the order of their names.

    Protocols: `xsub`, the first half of the subjects train; `half`, of each activity every other clip, in the order
    of the subjects, trains. The published random halves were not given out, so figures of `half` are near, not equal.

    Raises:
        SourceError: no such folder, nothing of the data set in it, or two files for one id.
        UserError: unknown image source or layout, or a CSV.
    """
    video = choose_video(NAME, options.video, VIDEOS)
    layout = choose_layout(NAME, options, ("kinect20",))
    check_source(source, NAME)
    skeletons, folders = _find_files(source, options.follow_links)
    if not folders:
        raise nothing_found(source, NAME, f"<subject name>/video<1..12>/{_SKELETON}")
    subjects = sorted({subject for subject, _ in folders})
    samples = tuple(
        Sample(
            sample_id=sample_id,
            label=activity - 1,
            subject=subjects.index(subject) + 1,
            video=find_colour(folder) if video != "none" else None,
            skeleton=skeletons.get(sample_id),
        )
        for sample_id, subject, activity, folder in sorted(
            (f"{subject}_video{activity:02}", subject, activity, folder)
            for (subject, activity), folder in folders.items()
        )
    )
    notes = []
    if len(samples) < PUBLISHED:
        notes.append(f"{len(samples)} of the {PUBLISHED} published samples are here")
    if len(subjects) != SUBJECTS:
        notes.append(
            f"{len(subjects)} subjects instead of {SUBJECTS}: the halves of both protocols are not the published ones"
        )
    return Dataset(
        name=NAME,
        classes=CLASSES,
        two_person=(),
        layout=layout,
        num_bodies=1,
        channels=3,
        clip=CROP_RESIZE,
        samples=samples,
        splits={"xsub": split_subjects(samples, len(subjects)), "half": split_halves(samples)},
        read=read_skeleton,
        clean=centre,
        settings={"format": "sysu-mat", "origin": ORIGIN},
        notes=tuple(notes + describe_gaps(samples, video)),
    )


def read_skeleton(path: Path) -> Bodies:
    """`SW` of a file; raises SampleError."""
    return read_kinect_mat(path, "SW")


def centre(bodies: Bodies) -> Bodies:
    """Moved so that the spine of frame 0 is the origin."""
    return centre_on_first(bodies, ORIGIN)


def split_subjects(samples: Iterable[Sample], subjects: int) -> dict[str, str]:
    """The first half of the subjects train; the middle one of an odd number too."""
    return {s.sample_id: TRAIN if s.subject <= (subjects + 1) // 2 else TEST for s in samples}


def split_halves(samples: Iterable[Sample]) -> dict[str, str]:
    """Of each activity every other clip, in the order of the subjects, trains."""
    by_label: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_label[sample.label].append(sample)
    return {
        sample.sample_id: TEST if place % 2 else TRAIN
        for clips in by_label.values()
        for place, sample in enumerate(sorted(clips, key=lambda s: s.subject))
    }


def find_colour(folder: Path) -> Path | None:
    """The colour images of one clip: a video file, else a folder of images, else the folder itself if it holds some."""
    holds_images = False
    inner: dict[str, Path] = {}
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            name = entry.name.lower()
            if name.startswith("."):
                continue
            if entry.is_dir():
                inner[name] = Path(entry.path)
            elif name.endswith(VIDEO_SUFFIXES) and "depth" not in name:
                return Path(entry.path)
            elif name.endswith(IMAGE_SUFFIXES) and "depth" not in name:
                holds_images = True
    for name in _COLOUR_FOLDERS:
        if name in inner:
            return inner[name]
    return folder if holds_images else None


def _find_files(source: Path, follow_links: bool) -> tuple[dict[str, Path], dict[tuple[str, int], Path]]:
    """Skeletons by id, and the folder of each clip by subject and activity."""
    skeletons: dict[str, Path] = {}
    folders: dict[tuple[str, int], Path] = {}
    for entry in walk(source, lambda name: name.lower() in _COLOUR_FOLDERS, follow_links=follow_links):
        path = Path(entry.path)
        clip = path if entry.is_dir() else path.parent
        match = _ACTIVITY.fullmatch(clip.name)
        if not match or not 1 <= int(match[1]) <= len(CLASSES):
            continue
        subject, activity = clip.parent.name, int(match[1])
        if entry.name == _SKELETON:
            add_file(skeletons, f"{subject}_video{activity:02}", entry.path, "skeleton")
        elif entry.is_dir():
            folders[subject, activity] = clip
    return skeletons, folders
