"""The table of one's own data: a CSV with one row a sample."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmcl_cache.datasets.dataset import TEST, TRAIN
from mmcl_cache.datasets.links import LinkCheck
from mmcl_cache.errors import SourceError
from mmcl_cache.store.regular import open_regular

COLUMNS = ("sample_id", "video", "skeleton", "label", "subject", "split")
REQUIRED = ("sample_id", "label")
LARGEST_BYTES = 1 << 28
MOST_ROWS = 1_000_000
_CONTROLS = ("\0", "\x1b")


@dataclass(frozen=True)
class Entry:
    """One sample of one's own data, before classes and subjects have numbers."""

    sample_id: str
    label: str
    video: Path | None = None
    skeleton: Path | None = None
    subject: str = ""
    split: str = ""


def read_table(table: Path, root: Path, follow_links: bool = False) -> tuple[list[Entry], list[str]]:
    """The rows of a CSV whose paths are relative to `root`, and notes.

    Columns: sample_id, label (both needed), video, skeleton (one of them), subject, split (train, test or empty).

    Raises:
        SourceError: no such file, no text, a column is missing, or a row lacks an id, a label or both files, repeats
            an id, leads out of `root`, or has an unknown split; the message names the line.
    """
    lines = _read_lines(table)
    header = [name.strip().lower() for name in next(lines, [])]
    _check_header(table, header)
    top = os.path.abspath(root)
    links = None if follow_links else LinkCheck(root)
    entries: list[Entry] = []
    seen: dict[str, int] = {}
    # A quoted cell may span lines; counting rows is right for every other table.
    for number, cells in enumerate(lines, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{table}, line {number}"
        if len(cells) != len(header):
            raise SourceError(f"{where}: {len(cells)} cells, but the header has {len(header)} columns")
        entry = _read_row(dict(zip(header, (cell.strip() for cell in cells), strict=True)), top, where)
        for path in (entry.video, entry.skeleton):
            if links is not None and path is not None:
                links.check(os.fspath(path))
        if entry.sample_id in seen:
            first = seen[entry.sample_id]
            raise SourceError(
                f"{where}: sample id {entry.sample_id!r} is on line {first} already; give it its own"
            )
        if len(seen) >= MOST_ROWS:
            raise SourceError(f"{where}: more than {MOST_ROWS:,} rows; split the table over several caches")
        seen[entry.sample_id] = number
        entries.append(entry)
    if not entries:
        raise SourceError(f"{table}: no rows below the header")
    notes = []
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        notes.append(f"columns of {table.name} not used: {', '.join(unknown)}")
    absent = [p for e in entries for p in (e.video, e.skeleton) if p is not None and not p.exists()]
    if absent:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        notes.append(
            f"{len(absent)} files in {table.name} do not exist: {', '.join(map(str, absent[:3]))}{more}"
        )
    return entries, notes


def _read_lines(table: Path) -> Iterator[list[str]]:
    """The rows of a CSV as they come; raises SourceError."""
    try:
        with (
            open_regular(table, LARGEST_BYTES) as stream,
            io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text,
        ):
            for cells in csv.reader(text, strict=True):
                if any(character in cell for cell in cells for character in _CONTROLS):
                    raise csv.Error("a control character")
                yield cells
    except OSError as error:
        raise SourceError(f"{table}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{table}: not a CSV in UTF-8 ({error})") from None


def _check_header(table: Path, header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if not {"video", "skeleton"} & set(header):
        missing.append("video or skeleton")
    if missing:
        raise SourceError(
            f"{table}: missing column {', '.join(missing)}; the first line must name the columns: {','.join(COLUMNS)}"
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise SourceError(f"{table}: column {', '.join(twice)} is there twice")


def _read_row(row: dict[str, str], top: str, where: str) -> Entry:
    for name in REQUIRED:
        if not row[name]:
            raise SourceError(f"{where}: {name} is empty")
    split = row.get("split", "").lower()
    if split not in ("", TRAIN, TEST):
        raise SourceError(f"{where}: split {split!r}; known: train, test, or empty for neither")
    video, skeleton = (_inside(row.get(name, ""), top, where) for name in ("video", "skeleton"))
    if video is None and skeleton is None:
        raise SourceError(f"{where}: neither a video nor a skeleton; leave the row out")
    return Entry(row["sample_id"], row["label"], video, skeleton, row.get("subject", ""), split)


def _inside(cell: str, top: str, where: str) -> Path | None:
    """The path a cell names, which may not lead out of the root."""
    if not cell:
        return None
    path = os.path.abspath(os.path.join(top, cell))
    if os.path.commonpath((top, path)) != top:
        raise SourceError(
            f"{where}: {cell!r} lies outside {top}; move the file there or choose another --source"
        )
    return Path(path)
