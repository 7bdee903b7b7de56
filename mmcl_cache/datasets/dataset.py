"""What every data set is, once its files have been found: samples, classes, splits, and how its skeletons are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.errors import SourceError, UserError
from mmcl_cache.skeletons.bodies import Bodies
from mmcl_cache.store import LAYOUTS, Layout

UNKNOWN = -1
"""A subject, camera or setup that the data set does not tell."""
TRAIN, TEST = "train", "test"
CROP_RESIZE: Mapping[str, Any] = {"transform": "crop-resize", "length": 64}
"""The clip transform of the NTU recipes: a temporal crop, resized to 64 frames."""

ImageReader = Callable[[Path], tuple[NDArray[np.uint8], float | None]]
"""A file → its images (T, H, W) grey or (T, H, W, 3) sRGB, and frames a second, or None where unknown."""


def every_body(bodies: Bodies) -> Bodies:
    """All bodies are people: for formats without false detections."""
    return bodies


@dataclass(frozen=True)
class Sample:
    """One clip, by the paths of what belongs to it; nothing of it has been opened.

    Args:
        sample_id: the only key there is.
        label: 0-based class.
        subject, camera, setup: the data set's own numbers, `UNKNOWN` where it has none.
        video: a video file, a folder of frame images or a depth file; None where there is none.
        skeleton: a skeleton file; None where there is none.
    """

    sample_id: str
    label: int
    subject: int = UNKNOWN
    camera: int = UNKNOWN
    setup: int = UNKNOWN
    video: Path | None = None
    skeleton: Path | None = None


@dataclass(frozen=True)
class ScanOptions:
    """What a person may say about where the parts of a data set are.

    Args:
        video: image source: "auto", "color", "depth" or "none"; a data set names those it has.
        layout: of `folder`: a built-in layout's name or a JSON file; of NTU: ntu25 or ntu25-hands.
        csv: of `folder` only: the table that lists the samples; `samples.csv` in the source is found by itself.
        follow_links: read files that lie elsewhere, behind links in the source.
    """

    video: str = "auto"
    layout: str | None = None
    csv: Path | None = None
    follow_links: bool = False


@dataclass(frozen=True)
class Dataset:
    """A data set as found on disk.

    Args:
        name: in `DATASETS`.
        classes: names, by label.
        two_person: labels of the classes that two people act.
        layout: of the stored joints.
        num_bodies: the most bodies `clean` leaves (M).
        channels: values a joint (C).
        clip: the data set's own clip transform, for stage 2.
        samples: sorted by id, ids unique.
        splits: protocol → sample id → "train" or "test"; an id of neither is not listed.
        read: skeleton file → every body as recorded, on the recording's time line; raises SampleError.
        clean: what `read` gave → what the skeleton field stores; raises SampleError where nothing is left.
        settings: all of the above that changes stored bytes.
        notes: what was left out or is lacking, with counts; one line each.
        people: what `read` gave → the bodies to cut out of the video, still on the recording's time line.
        video_readers: end of a file's name → what reads such a file of images where no video decoder can.
        unit: of the stored joints; "" where they have none, as 2-D poses divided by the size of the person.
        follow_links: as in `ScanOptions`; changes no byte of what is read.

    Raises:
        SourceError: samples are not sorted or an id is there twice, a label or a split is out of range.
    """

    name: str
    classes: tuple[str, ...]
    two_person: tuple[int, ...]
    layout: Layout
    num_bodies: int
    channels: int
    clip: Mapping[str, Any]
    samples: tuple[Sample, ...]
    splits: Mapping[str, Mapping[str, str]]
    read: Callable[[Path], Bodies]
    clean: Callable[[Bodies], Bodies]
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    people: Callable[[Bodies], Bodies] = every_body
    video_readers: Mapping[str, ImageReader] = field(default_factory=dict)
    unit: str = "m"
    follow_links: bool = False

    def __post_init__(self) -> None:
        previous = ""
        for sample in self.samples:
            if sample.sample_id <= previous:
                what = "is there twice" if sample.sample_id == previous else f"comes after {previous!r}"
                raise SourceError(
                    f"{self.name}: sample id {sample.sample_id!r} {what}; give each sample its own id"
                )
            if not 0 <= sample.label < len(self.classes):
                raise SourceError(
                    f"{self.name}: sample {sample.sample_id!r} has label {sample.label}, but there are "
                    f"{len(self.classes)} classes"
                )
            previous = sample.sample_id
        for protocol, split in self.splits.items():
            wrong = set(split.values()) - {TRAIN, TEST}
            if wrong:
                raise SourceError(
                    f"{self.name}: protocol {protocol!r} has the splits {sorted(wrong)}; known: train, test"
                )


def choose_video(dataset: str, asked: str, known: tuple[str, ...]) -> str:
    """`asked`, after the check that the data set has such an image source.

    Raises:
        UserError: it has not; lists those it has.
    """
    if asked not in known:
        raise UserError(f"{dataset} has no image source {asked!r}; known: {', '.join(known)}")
    return asked


def choose_layout(dataset: str, options: ScanOptions, known: tuple[str, ...]) -> Layout:
    """The layout asked for, or the data set's own; also refuses a table where the files tell everything.

    Args:
        known: names of `LAYOUTS`, the data set's own first.

    Raises:
        UserError: another layout, or a CSV.
    """
    if options.csv is not None:
        raise UserError(
            f"{dataset} takes no CSV; its files tell everything (a CSV is for the data set folder)"
        )
    if options.layout is not None and options.layout not in known:
        raise UserError(f"{dataset} has no layout {options.layout!r}; known: {', '.join(known)}")
    return LAYOUTS[options.layout or known[0]]


def describe_gaps(samples: tuple[Sample, ...], video: str) -> list[str]:
    """Notes on how many samples lack what; nothing about videos nobody asked for."""
    notes = []
    skeletons = sum(sample.skeleton is None for sample in samples)
    videos = sum(sample.video is None for sample in samples)
    if skeletons:
        notes.append(f"{skeletons} of {len(samples)} samples have no skeleton file")
    if videos and video != "none":
        notes.append(f"{videos} of {len(samples)} samples have no video")
    return notes
