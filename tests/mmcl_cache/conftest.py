"""A few generated clips in NTU's formats, made once a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mmcl_cache.demo.generate import generate_demo

CLIPS = 14


@pytest.fixture(scope="session")
def generated_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: `clip_source` gives a copy."""
    root = tmp_path_factory.mktemp("clips") / "demo"
    generate_demo(root, clips=CLIPS, seed=3, workers=1)
    return root


@pytest.fixture
def clip_source(generated_clips: Path, tmp_path: Path) -> Callable[[], Path]:
    def copy() -> Path:
        return Path(shutil.copytree(generated_clips, tmp_path / "source"))

    return copy
