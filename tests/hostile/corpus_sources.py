"""Folders of a data set: links, pipes, names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.hostile.case import Case, Make

POSES = np.ones((3, 17, 3), np.float32)


def source(fill: Callable[[Path, Path], None]) -> Make:
    """A folder `source` with one sound clip, and what `fill` puts beside it."""

    def make(folder: Path, canary: Path) -> Path:
        made = folder / "source"
        (made / "wave").mkdir(parents=True)
        np.save(made / "wave" / "sound.npy", POSES)
        fill(made, canary)
        return made

    return make


def _link_to_file(made: Path, canary: Path) -> None:
    (made / "wave" / "clip.npy").symlink_to(canary)


def _link_to_folder(made: Path, canary: Path) -> None:
    (made / "jump").symlink_to(canary.parent)


def _link_through_folder(made: Path, canary: Path) -> None:
    (made / "jump").symlink_to("../../canary")


def _table_through_link(made: Path, canary: Path) -> None:
    (made / "elsewhere").symlink_to(canary.parent)
    (made / "samples.csv").write_text("sample_id,video,label\na,elsewhere/secret.h5,x\n")


def _link_to_link(made: Path, canary: Path) -> None:
    (made / "one").symlink_to(made / "two")
    (made / "two").symlink_to(canary.parent)


def _endless_link(made: Path, canary: Path) -> None:
    (made / "loop").symlink_to(made / "loop")


def _pipe_as_layout(made: Path, canary: Path) -> None:
    os.mkfifo(made / "layout.json")


def _pipe_as_table(made: Path, canary: Path) -> None:
    (made / "samples.csv").mkdir()
    os.mkfifo(made / "wave" / "pipe.npy")


def _name(name: bytes) -> Callable[[Path, Path], None]:
    def fill(made: Path, canary: Path) -> None:
        os.mkdir(os.path.join(os.fsencode(made), name))
        np.save(Path(os.fsdecode(os.path.join(os.fsencode(made), name, b"clip.npy"))), POSES)

    return fill


def _ntu_link(folder: Path, canary: Path) -> Path:
    made = folder / "source"
    made.mkdir()
    (made / "S001C001P001R001A001.skeleton").symlink_to(canary)
    return made


def _root_is_link(folder: Path, canary: Path) -> Path:
    real = source(lambda made, canary: None)(folder, canary)
    (folder / "link").symlink_to(real)
    return folder / "link"


def _link_inside(made: Path, canary: Path) -> None:
    (made / "jump").mkdir()
    (made / "jump" / "again.npy").symlink_to(made / "wave" / "sound.npy")


_CASES: dict[str, tuple[str, Callable[[Path, Path], None], str]] = {
    "link to a file elsewhere": ("--follow-links", _link_to_file, "clip.npy"),
    "link to a folder elsewhere": ("--follow-links", _link_to_folder, "jump"),
    "link that climbs out": ("--follow-links", _link_through_folder, "jump"),
    "table that goes through a link": ("--follow-links", _table_through_link, "secret.h5"),
    "link to a link": ("--follow-links", _link_to_link, "source"),
    "pipe as layout": ("", _pipe_as_layout, ""),
    "pipe as poses": ("", _pipe_as_table, ""),
    "link that leads to itself": ("cannot be listed", _endless_link, "source"),
    "link that stays inside": ("", _link_inside, ""),
    "class with a line break": ("control character", _name(b"evil\nname"), "evil"),
    "class that is no text": ("control character", _name(b"evil\xff\xfe"), "evil"),
    "class of 250 letters": ("1 to 200 bytes", _name(b"e" * 250), "eeee"),
}
CASES = [
    *(
        Case("source", name, "folder", message, source(fill), names)
        for name, (message, fill, names) in _CASES.items()
    ),
    Case(
        "source",
        "link among NTU's files",
        "ntu",
        "--follow-links",
        _ntu_link,
        "S001C001P001R001A001.skeleton",
    ),
    Case("source", "root that is a link", "folder", "", _root_is_link),
]
