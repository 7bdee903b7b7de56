"""Data and caches made once a session, and the working folder of a page that gets some of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs import miniature
from tests.docs.pages import find_commands
from tests.docs.running import run_command

SOURCES = {
    "ntu60": "data/ntu60", "ntu120": "data/ntu120", "nw-ucla": "data/nw_ucla", "utd-mhad": "data/utd_mhad",
    "sysu": "data/sysu", "demo": "data/demo",
}  # fmt: skip


class World:
    """Data and caches made once a session, each when a page first asks for it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def data(self, name: str) -> Path:
        """`data/<name>`, or `mine`."""
        path = self.root / name
        if not path.exists():
            if name.startswith("data/ntu"):
                miniature.make_ntu(path, self.data("data/demo"), 60 if name.endswith("60") else 120)
            else:
                {
                    "data/demo": miniature.make_demo,
                    "data/nw_ucla": miniature.make_nw_ucla,
                    "data/utd_mhad": miniature.make_utd_mhad,
                    "data/sysu": miniature.make_sysu,
                    "mine": miniature.make_own,
                }[name](path)
        return path

    def cache(self, name: str) -> Path:
        """`caches/<name>` with every field, by the embedded models."""
        path = self.root / "caches" / name
        if not path.exists():
            source = self.data(SOURCES[name])
            run_line(f"mmcl-cache build --quiet --dataset {name} --source {source} --cache {path}")
        return path


class Place:
    """The working folder of one page."""

    def __init__(self, world: World, root: Path, models: dict[str, Path], patch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.root = root
        self.models = models
        self.patch = patch

    def data(self, *names: str) -> None:
        for name in names:
            miniature.copy_tree(self.world.data(name), self.root / name)

    def caches(self, *names: str) -> None:
        for name in names:
            shutil.copytree(self.world.cache(name), self.root / "caches" / name)

    def train(self, cache: str, out: str, options: str = "") -> None:
        run_line(f"mmcl-train run --cache caches/{cache} --out {out} --backbone ctrsgcn {options}")


def run_line(line: str) -> None:
    """One command that a page needs to have been run before."""
    (command,) = find_commands("given", f"```bash\n{line}\n```\n")
    done = run_command(command)
    assert done.code == 0, f"{line}\n{done.output}"
