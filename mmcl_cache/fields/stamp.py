"""By which files a row was made: the size of each and a digest of what is cheap to read of it.

A skeleton file is read whole anyway, so all of it is digested. Of a video it is the size and both ends: 128 KiB instead
of megabytes. Another recording, another encoding or a cut file has another size or other ends; a byte that flips in the
middle of a video is not seen. Of a folder of images it is every name and size, and both ends of the first and the last.

Times of files are left out: a copy has others, and a row made from a copy is the same row.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmcl_cache.datasets import Sample
from mmcl_cache.datasets.tree import IMAGE_SUFFIXES
from mmcl_cache.store import canonical_json
from mmcl_cache.store.regular import open_regular

EDGE = 64 << 10
"""Bytes that are read at each end of a video."""
SKELETON, VIDEO = "skeleton", "video"


def strip_sources(crop: str) -> tuple[str, ...]:
    """The kinds of files that strips are made from, by how they are cropped."""
    return (SKELETON, VIDEO) if crop == "person" else (VIDEO,)


def write_stamps(stamps: Mapping[str, str], kinds: Iterable[str]) -> str:
    """The stamps of these kinds as a row keeps them; "" where there are none."""
    kept = {kind: stamps[kind] for kind in kinds if kind in stamps}
    return canonical_json(kept) if kept else ""


def take_stamps(sample: Sample, kinds: Iterable[str]) -> dict[str, str]:
    """Kind of file → stamp, of those files of a sample that are there and can be read.

    Args:
        kinds: of `SKELETON` and `VIDEO`, those to look at.
    """
    paths = {SKELETON: sample.skeleton, VIDEO: sample.video}
    found: dict[str, str] = {}
    for kind in kinds:
        path = paths[kind]
        if path is not None and (stamp := stamp_path(path, whole=kind == SKELETON)):
            found[kind] = stamp
    return found


def read_stamps(text: str) -> dict[str, str]:
    """What `write_stamps` wrote; nothing where it is something else."""
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return {str(k): v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


def stamp_path(path: Path, whole: bool = False) -> str:
    """ "size:digest" of a file or a folder of images; "" where it cannot be read.

    Args:
        whole: digest all of a file, not only its ends.
    """
    digest = hashlib.sha256()
    try:
        size = _digest_folder(path, digest) if path.is_dir() else _digest_file(path, digest, whole)
    except OSError:
        return ""
    return f"{size}:{digest.hexdigest()[:32]}"


def _digest_file(path: Path, digest: hashlib._Hash, whole: bool) -> int:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if whole or size <= 2 * EDGE:
            while block := file.read(1 << 20):
                digest.update(block)
        else:
            digest.update(file.read(EDGE))
            file.seek(-EDGE, os.SEEK_END)
            digest.update(file.read(EDGE))
    return size


def _digest_folder(folder: Path, digest: hashlib._Hash) -> int:
    with os.scandir(folder) as entries:
        images = sorted(
            (e.name, e.stat().st_size) for e in entries if e.name.lower().endswith(IMAGE_SUFFIXES)
        )
    for name, size in images:
        digest.update(f"{name} {size}\n".encode())
    for name in sorted({name for name, _ in (*images[:1], *images[-1:])}):
        _digest_file(folder / name, digest, whole=False)
    return sum(size for _, size in images)
