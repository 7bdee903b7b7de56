"""The table of one's own data: a CSV with one row a sample."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from mmcl_cache.datasets.dataset import TEST, TRAIN
from mmcl_cache.errors import SourceError

COLUMNS = ("sample_id", "video", "skeleton", "label", "subject", "split")
REQUIRED = ("sample_id", "label")


@dataclass(frozen=True)
class Entry:
    """One sample of one's own data, before classes and subjects have numbers."""

    sample_id: str
    label: str
    video: Path | None = None
    skeleton: Path | None = None
    subject: str = ""
    split: str = ""


def read_table(table: Path, root: Path) -> tuple[list[Entry], list[str]]:
    """The rows of a CSV whose paths are relative to `root`, and notes.

    Columns: sample_id, label (both needed), video, skeleton (one of them), subject, split (train, test or empty).

    Raises:
        SourceError: no such file, no text, a column is missing, or a row lacks an id, a label or both files, repeats
            an id, leads out of `root`, or has an unknown split; the message names the line.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.reader(stream, strict=True))
    except OSError as error:
        raise SourceError(f"{table}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{table}: not a CSV in UTF-8 ({error})") from None
    header = [name.strip().lower() for name in lines[0]] if lines else []
    _check_header(table, header)
    entries: list[Entry] = []
    seen: dict[str, int] = {}
    # A quoted cell may span lines; counting rows is right for every other table.
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{table}, line {number}"
        if len(cells) != len(header):
            raise SourceError(f"{where}: {len(cells)} cells, but the header has {len(header)} columns")
        entry = _read_row(dict(zip(header, (cell.strip() for cell in cells), strict=True)), root, where)
        if entry.sample_id in seen:
            first = seen[entry.sample_id]
            raise SourceError(
                f"{where}: sample id {entry.sample_id!r} is on line {first} already; give it its own"
            )
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


def _read_row(row: dict[str, str], root: Path, where: str) -> Entry:
    for name in REQUIRED:
        if not row[name]:
            raise SourceError(f"{where}: {name} is empty")
    split = row.get("split", "").lower()
    if split not in ("", TRAIN, TEST):
        raise SourceError(f"{where}: split {split!r}; known: train, test, or empty for neither")
    video, skeleton = (_inside(row.get(name, ""), root, where) for name in ("video", "skeleton"))
    if video is None and skeleton is None:
        raise SourceError(f"{where}: neither a video nor a skeleton; leave the row out")
    return Entry(row["sample_id"], row["label"], video, skeleton, row.get("subject", ""), split)


def _inside(cell: str, root: Path, where: str) -> Path | None:
    """The path a cell names; links are followed as they are, but no name may lead out of the root."""
    if not cell:
        return None
    top = os.path.abspath(root)
    path = os.path.abspath(os.path.join(top, cell))
    if os.path.commonpath((top, path)) != top:
        raise SourceError(
            f"{where}: {cell!r} lies outside {root}; move the file there or choose another --source"
        )
    return Path(path)
