"""One's own data without a table: `<class>/<clip>.mp4` and `<class>/<clip>.npy` below the source.

Folders named videos, skeletons, … and train, test, val may stand above the classes; the former mean nothing, the
latter are the splits. A clip may also be a folder of frame images.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmcl_cache.datasets.dataset import TEST, TRAIN
from mmcl_cache.datasets.folder_table import Entry
from mmcl_cache.datasets.tree import IMAGE_SUFFIXES, VIDEO_SUFFIXES, some_names, walk
from mmcl_cache.errors import SourceError

KINDS = frozenset({"videos", "video", "rgb", "color", "colour", "skeletons", "skeleton", "poses", "pose"})
SPLITS = {"train": TRAIN, "training": TRAIN, "test": TEST, "testing": TEST, "val": TEST, "validation": TEST}
SKELETON_SUFFIXES = (".npy", ".npz")


def read_tree(source: Path, follow_links: bool = False) -> tuple[list[Entry], list[str]]:
    """The clips in class folders, and notes.

    The id of `wave/clip1.mp4` is `wave__clip1`.

    Raises:
        SourceError: a link leads out of the source, a clip has two videos or skeletons, or lies in train and in test.
    """
    entries: dict[str, Entry] = {}
    stray: list[str] = []
    frames: set[Path] = set()
    for found in walk(source, follow_links=follow_links):
        path = Path(found.path)
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            frames.add(path.parent)
        elif suffix in VIDEO_SUFFIXES or suffix in SKELETON_SUFFIXES:
            _enter(
                entries,
                stray,
                path,
                path.stem,
                source,
                "skeleton" if suffix in SKELETON_SUFFIXES else "video",
            )
    for folder in sorted(frames):
        _enter(entries, stray, folder, folder.name, source, "video")
    notes = []
    if stray:
        notes.append(f"{len(stray)} clips left out, they do not lie in one class folder: {some_names(stray)}")
    return list(entries.values()), notes


def _enter(
    entries: dict[str, Entry], stray: list[str], path: Path, stem: str, source: Path, what: str
) -> None:
    parts = path.parent.relative_to(source).parts
    splits = {SPLITS[part.lower()] for part in parts if part.lower() in SPLITS}
    classes = [part for part in parts if part.lower() not in KINDS and part.lower() not in SPLITS]
    if len(classes) != 1 or len(splits) > 1:
        stray.append(str(path.relative_to(source)))
        return
    label, split = classes[0], next(iter(splits), "")
    sample_id = f"{label}__{stem}"
    entry = entries.setdefault(sample_id, Entry(sample_id, label, split=split))
    other = entry.video if what == "video" else entry.skeleton
    if other is not None:
        raise SourceError(f"sample {sample_id}: two {what} files, {other} and {path}; rename or remove one")
    if entry.split != split:
        raise SourceError(
            f"sample {sample_id}: parts of it lie in {entry.split or 'no split'} and in {split or 'no split'}; "
            "rename one of the two clips"
        )
    entries[sample_id] = replace(entry, video=path) if what == "video" else replace(entry, skeleton=path)
