"""Links that lead out of a source are refused wherever they are met, and followed where that was asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcl_cache.config import StripSettings
from mmcl_cache.datasets.dataset import Sample, ScanOptions
from mmcl_cache.datasets.folder import scan_folder
from mmcl_cache.errors import SourceError
from mmcl_cache.fields.recording import Recorder

POSES = np.ones((3, 17, 3), np.float32)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A source with one sound clip of poses and one of frames, and a folder elsewhere with both kinds of file."""
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    (source / "wave" / "clip").mkdir(parents=True)
    elsewhere.mkdir()
    image = Image.fromarray(np.zeros((48, 64, 3), np.uint8))
    for path in (source / "wave" / "clip" / "1.png", elsewhere / "2.png"):
        image.save(path)
    for path in (source / "wave" / "sound.npy", elsewhere / "poses.npy"):
        np.save(path, POSES)
    return source, elsewhere


def test_link_out_of_the_source_is_followed_where_that_is_asked_for(places: tuple[Path, Path]) -> None:
    source, elsewhere = places
    (source / "wave" / "other.npy").symlink_to(elsewhere / "poses.npy")
    with pytest.raises(
        SourceError, match=r"other.npy: a link out of the source, to .*poses.npy.*--follow-links"
    ):
        scan_folder(source, ScanOptions())
    found = scan_folder(source, ScanOptions(follow_links=True))
    assert [s.sample_id for s in found.samples] == ["wave__clip", "wave__other", "wave__sound"]


def test_frame_that_is_a_link_out_of_the_source_is_a_failed_row_that_says_so(
    places: tuple[Path, Path],
) -> None:
    source, elsewhere = places
    dataset = scan_folder(source, ScanOptions())
    # The folder is filled after it was planned: frames are looked at only when they are read.
    (source / "wave" / "clip" / "2.png").symlink_to(elsewhere / "2.png")
    sample = next(s for s in dataset.samples if s.video is not None)
    made = _record(dataset, source, sample)
    assert made is not None and made.status == "failed" and "2.png: a link out of the source" in made.reason
    made = _record(replace(dataset, follow_links=True), source, sample)
    assert made is not None and made.status == "ok"


def test_skeleton_that_became_a_link_is_a_failed_row(places: tuple[Path, Path]) -> None:
    source, elsewhere = places
    dataset = scan_folder(source, ScanOptions())
    (source / "wave" / "sound.npy").unlink()
    (source / "wave" / "sound.npy").symlink_to(elsewhere / "poses.npy")
    sample = next(s for s in dataset.samples if s.skeleton is not None)
    row = Recorder.of(dataset, source, None, True, "auto")(sample).skeleton
    assert row is not None and row.status == "failed" and "--follow-links" in row.reason


def _record(dataset, source: Path, sample: Sample):  # type: ignore[no-untyped-def]
    return Recorder.of(dataset, source, StripSettings(), False, "auto")(sample).strip
