"""The worked examples of the pages: code blocks that begin with the name of the file they are."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from tests.docs.pages import find_blocks, read_page


def find_example(page: str, path: str) -> str:
    """The Python block of a page whose first line is `# <path>`."""
    found = [
        text
        for language, text in find_blocks(read_page(page))
        if language == "python" and text.split("\n")[0].split()[1] == path
    ]
    assert len(found) == 1, f"{page}: {len(found)} blocks named {path}"
    return found[0]


def load_example(page: str, path: str, patch: pytest.MonkeyPatch) -> types.ModuleType:
    """The block as the module it would be in the repository, for the time of a test."""
    name = path.removesuffix(".py").replace("/", ".")
    module = types.ModuleType(name)
    module.__file__ = path
    patch.setitem(sys.modules, name, module)
    exec(compile(find_example(page, path), path, "exec"), module.__dict__)
    return module


def write_example(page: str, path: str, folder: Path) -> Path:
    """The block as a file that a user would have."""
    target = folder / path
    target.write_text(find_example(page, path), encoding="utf-8")
    return target
