"""The field `strip`: K person crops of a clip side by side, as JPEG bytes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np

from mmcl_cache.config import StripSettings
from mmcl_cache.datasets import Dataset, Sample
from mmcl_cache.skeletons.bodies import Bodies
from mmcl_cache.store import Column, Row
from mmcl_cache.video.crop import Box, align_indices, person_boxes, spread_boxes
from mmcl_cache.video.decode import Frames, read_frames
from mmcl_cache.video.frames import choose_frames
from mmcl_cache.video.strip import encode_jpeg, make_strip

NO_SKELETON = "whole frame: no skeleton"
"""The note of a strip that was to be cropped by a skeleton, where there was none that could be read."""


def strip_columns(settings: StripSettings) -> tuple[Column, ...]:
    return (
        Column("jpeg", "uint8", (), True, "", "JPEG file of the strip, sRGB"),
        Column("frame_index", "int32", (settings.tiles,), False, "", "video frame of each tile"),
        Column("video_frames", "int32", (), False, "", "frames the video has"),
    )


class PeopleFinder(Protocol):
    """Something that finds people in images, and the settings that change what it finds."""

    @property
    def settings(self) -> dict[str, Any]: ...

    def find(self, images: Sequence[np.ndarray]) -> list[Box | None]: ...


def strip_settings(
    dataset: Dataset, settings: StripSettings, finder: PeopleFinder | None = None
) -> dict[str, Any]:
    """What changes a strip's bytes: how it is cut, which people are cut out, and the libraries that touch pixels."""
    versions = {name: ".".join(version(name).split(".")[:2]) for name in ("av", "pillow")}
    return {
        "dataset": dataset.name,
        **settings.to_json(),
        "people": dict(dataset.settings),
        "versions": versions,
        "detector": finder.settings if finder is not None else None,
    }


def make_strip_row(
    sample: Sample,
    dataset: Dataset,
    bodies: Bodies | None,
    settings: StripSettings,
    decoder: str,
    finder: PeopleFinder | None = None,
) -> Row:
    """The row of one sample.

    Args:
        bodies: as recorded; None where the sample has none, or none that can be read. The whole frame is taken then,
            and the row's reason says so.
        finder: finds the people where `settings.crop` is "detector".

    Raises:
        SampleError: no video where the plan found one, or a damaged one.
    """
    if sample.video is None:
        return Row(sample.sample_id, "absent", "no video")
    choose = functools.partial(choose_frames, tiles=settings.tiles, sampling=settings.sampling)
    frames = read_frames(sample.video, choose, decoder, dataset.video_readers)
    boxes, note = _boxes(frames, dataset, bodies, settings, finder)
    strip = make_strip(frames.images, boxes, (settings.tile_width, settings.tile_height), settings.filter)
    values = {
        "jpeg": np.frombuffer(encode_jpeg(strip, settings.quality), dtype=np.uint8),
        "frame_index": frames.indices,
        "video_frames": frames.num_frames,
    }
    return Row(sample.sample_id, "ok", note, values)


def _boxes(
    frames: Frames,
    dataset: Dataset,
    bodies: Bodies | None,
    settings: StripSettings,
    finder: PeopleFinder | None,
) -> tuple[list[Box] | None, str]:
    """A box a frame and "", or None for whole frames and why."""
    if settings.crop == "none":
        return None, ""
    if settings.crop == "detector" and finder is not None:
        found = finder.find(frames.images)
        seen = sum(box is not None for box in found)
        boxes = spread_boxes(found, frames.size, settings.slack, settings.crop_scope)
        if boxes is None:
            return None, "whole frame: the detector found nobody"
        return boxes, "" if seen == len(found) else f"people found in {seen} of {len(found)} tiles"
    if bodies is None:
        return None, NO_SKELETON
    people = dataset.people(bodies)
    if people.pixels is None:
        return None, "whole frame: the skeleton has no pixels of this video"
    indices = align_indices(frames.indices, frames.num_frames, frames.fps, people.num_frames, people.fps)
    boxes = person_boxes(people.pixels, indices, frames.size, settings.slack, settings.crop_scope)
    if boxes is None:
        return None, "whole frame: no joint inside the image"
    if abs(frames.num_frames - people.num_frames) > 1 and (
        frames.fps is None or people.fps in (None, frames.fps)
    ):
        return (
            boxes,
            f"aligned by time: {people.num_frames} skeleton frames, {frames.num_frames} video frames",
        )
    return boxes, ""
