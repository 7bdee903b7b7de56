"""What a hostile file is: how it is made, what reads it, and what must be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Make = Callable[[Path, Path], Path]
"""(new empty folder, canary that must never be touched) → the file or folder to read."""


@dataclass(frozen=True)
class Case:
    """One hostile file.

    Args:
        kind: of file, for counting.
        name: what is hostile about it; unique within its kind.
        reader: a name of `reading.READERS`.
        message: part of the one line that refuses it; "" where it is read, and nothing of what it wants happens.
        make: makes it.
        names: what the message must name, where that is not the file itself.
    """

    kind: str
    name: str
    reader: str
    message: str
    make: Make
    names: str = ""

    @property
    def label(self) -> str:
        return f"{self.kind}-{self.name}".replace(" ", "_")


def write(name: str, content: bytes | Callable[[Path], bytes]) -> Make:
    """A file of this name; the content may depend on the canary."""

    def make(folder: Path, canary: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content(canary))
        return path

    return make
