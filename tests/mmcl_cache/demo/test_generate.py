"""The generated files: the same from the same seed, whole, and read by the readers of real data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmcl_cache.datasets import ScanOptions
from mmcl_cache.datasets.demo import scan_demo
from mmcl_cache.demo import generate_demo
from mmcl_cache.demo.actions import CLASSES, TWO_PERSON
from mmcl_cache.demo.camera import HEIGHT, WIDTH
from mmcl_cache.demo.clips import plan_clips
from mmcl_cache.errors import SourceError, UserError
from mmcl_cache.video.decode import read_frames

CLIPS = 16


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "demo"
    generate_demo(root, clips=CLIPS, seed=3, workers=1)
    return root


def test_same_seed_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    generate_demo(tmp_path / "again", clips=3, seed=3, workers=1)
    written = [path for path in (tmp_path / "again").rglob("*") if path.suffix in (".avi", ".skeleton")]
    assert len(written) == 6
    for path in written:
        assert path.read_bytes() == (source / path.relative_to(tmp_path / "again")).read_bytes(), path.name


def test_another_seed_gives_other_clips(source: Path, tmp_path: Path) -> None:
    generate_demo(tmp_path, clips=1, seed=4, workers=1)
    path = next(tmp_path.rglob("*.skeleton"))
    assert path.read_bytes() != (source / path.relative_to(tmp_path)).read_bytes()


def test_every_class_is_scanned_with_its_files(source: Path) -> None:
    dataset = scan_demo(source, ScanOptions())
    assert [sample.sample_id for sample in dataset.samples] == sorted(str(clip) for clip in plan_clips(CLIPS))
    assert {sample.label for sample in dataset.samples} == set(range(len(CLASSES)))
    assert all(sample.video and sample.skeleton for sample in dataset.samples)
    assert dataset.notes == ()


def test_skeletons_are_read_and_cleaned_as_ntu_ones(source: Path) -> None:
    dataset = scan_demo(source, ScanOptions())
    for sample in dataset.samples:
        assert sample.skeleton is not None
        bodies = dataset.read(sample.skeleton)
        people = 2 if sample.label in TWO_PERSON else 1
        cleaned = dataset.clean(bodies)
        assert cleaned.joints.shape[1:] == (people, 25, 3)
        assert np.isfinite(cleaned.joints).all()


def test_video_has_a_frame_for_each_skeleton_frame(source: Path) -> None:
    dataset = scan_demo(source, ScanOptions())
    sample = dataset.samples[0]
    assert sample.video is not None and sample.skeleton is not None
    frames = read_frames(sample.video, lambda count: np.arange(0, count, 20))
    assert frames.size == (WIDTH, HEIGHT)
    assert frames.num_frames == dataset.read(sample.skeleton).num_frames
    assert 40 <= frames.num_frames <= 90


def test_colour_pixels_lie_on_the_person(source: Path) -> None:
    """Clothes differ from the empty room: at the projected spine the picture is not the room's."""
    dataset = scan_demo(source, ScanOptions())
    for sample in dataset.samples[:4]:
        assert sample.video is not None and sample.skeleton is not None
        bodies = dataset.read(sample.skeleton)
        assert bodies.pixels is not None
        spine = np.nanmedian(bodies.pixels[:, 0, 1], axis=0)
        assert 0 < spine[0] < WIDTH and 0 < spine[1] < HEIGHT


def test_finished_demo_is_left_alone(source: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    generate_demo(source, clips=CLIPS, seed=3)
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before


def test_unfinished_demo_is_continued(tmp_path: Path) -> None:
    generate_demo(tmp_path / "d", clips=2, seed=1, workers=1)
    root = tmp_path / "d"
    (root / "demo.json").rename(root / "demo.unfinished.json")
    lost = sorted(root.rglob("*.avi"))[0]
    data = lost.read_bytes()
    lost.unlink()
    seen: list[tuple[int, int]] = []
    generate_demo(root, clips=2, seed=1, workers=1, progress=lambda done, total: seen.append((done, total)))
    assert lost.read_bytes() == data
    assert seen == [(1, 2), (2, 2)]
    assert json.loads((root / "demo.json").read_text())["clips"] == 2


def test_other_settings_are_refused_by_name(source: Path) -> None:
    with pytest.raises(SourceError, match="another clips"):
        generate_demo(source, clips=5, seed=3)


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SourceError, match="no demo"):
        scan_demo(tmp_path, ScanOptions())


def test_image_source_it_does_not_have_is_refused(source: Path) -> None:
    with pytest.raises(UserError, match="depth"):
        scan_demo(source, ScanOptions(video="depth"))
