"""One file that vanishes is its sample's own trouble; a source that vanishes stops the build."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mmcl_cache.errors import SourceError
from mmcl_cache.fields.recording import RecordedRows, check_source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source" / "videos"
    folder.mkdir(parents=True)
    (folder / "b.avi").write_bytes(b"")
    return tmp_path / "source"


def missing(source: Path) -> RecordedRows:
    return RecordedRows(None, None, source / "videos" / "a.avi")


def test_missing_file_beside_others_does_not_stop_a_build(source: Path) -> None:
    check_source(source, missing(source))


def test_rows_without_a_missing_file_never_ask_for_the_source(tmp_path: Path) -> None:
    check_source(tmp_path / "gone", RecordedRows(None, None))


@pytest.mark.parametrize("empty", [False, True])
def test_source_that_is_gone_or_empty_stops_a_build_by_name(source: Path, empty: bool) -> None:
    shutil.rmtree(source)
    if empty:
        source.mkdir()
    with pytest.raises(SourceError, match=f"{source}: it was there when the build began"):
        check_source(source, missing(source))


def test_folder_that_was_emptied_stops_a_build_by_name(source: Path) -> None:
    (source / "videos" / "b.avi").unlink()
    with pytest.raises(SourceError, match=f"{source}/videos: it was there"):
        check_source(source, missing(source))
