"""Finding the files of a data set in a folder tree, without asking the disk about each of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from mmcl_cache.datasets.links import LinkCheck
from mmcl_cache.errors import SourceError

DEPTH = 4
"""Folders are searched this deep below the source: as distributed, and one or two folders of one's own around it."""
VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".webm", ".mov")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm")


def check_source(source: Path, dataset: str) -> None:
    """Raises SourceError where the source folder is not there or is no folder."""
    if not source.exists():
        raise SourceError(f"{dataset}: the source folder {source} does not exist; name it with --source")
    if not source.is_dir():
        raise SourceError(f"{dataset}: the source {source} is not a folder; name the folder with --source")


def walk(
    source: Path, stop: Callable[[str], bool] | None = None, *, follow_links: bool = False
) -> Iterator[os.DirEntry[str]]:
    """Every file and folder at most `DEPTH` folders below `source`; hidden ones are passed over.

    Only the folder listings are read: nothing is asked about single files, so 200,000 names take about a second.

    Args:
        stop: folders with such a name are given, but not entered.
        follow_links: links that lead out of the source too.

    Raises:
        SourceError: a folder cannot be listed, or a link leads out of the source.
    """
    links = LinkCheck(source)
    folders = [(os.fspath(source), 0)]
    while folders:
        folder, level = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if not follow_links and entry.is_symlink():
                        links.check(entry.path)
                    yield entry
                    if entry.is_dir() and level < DEPTH and not (stop and stop(entry.name)):
                        folders.append((entry.path, level + 1))
        except OSError as error:
            raise SourceError(
                f"{folder}: cannot be listed: {error.strerror}; check its permissions"
            ) from None


def add_file(found: dict[str, Path], sample_id: str, path: str, what: str) -> None:
    """Enter a file under its id.

    Raises:
        SourceError: the id has one already; names both files.
    """
    if sample_id in found:
        raise SourceError(
            f"sample {sample_id}: two {what} files, {found[sample_id]} and {path}; remove one of them"
        )
    found[sample_id] = Path(path)


def nothing_found(source: Path, dataset: str, wanted: str) -> SourceError:
    """The error of a wrong folder: what was looked for, and what is there instead."""
    with os.scandir(source) as entries:
        names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in entries)
    there = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return SourceError(f"{dataset}: looked in {source} for {wanted}; found {there or 'an empty folder'}")


def some_names(names: list[str]) -> str:
    """Up to three names for a note, and how many more."""
    shown = sorted(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
