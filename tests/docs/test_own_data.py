"""The own-data example of the README runs as it stands there, on generated videos and 2-D poses."""

from __future__ import annotations

import re
import shlex
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from mmcl_cache.cli import main as mmcl_cache
from mmcl_train.cli import cli as mmcl_train

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {"mmcl-cache": mmcl_cache, "mmcl-train": mmcl_train}


def _write_clip(folder: Path, name: str, rng: np.random.Generator, speed: float) -> None:
    """24 frames of a square that follows the poses' middle, and the poses: 17 joints in pixels with a score."""
    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(24)[:, None]
    middle = np.stack([60 + 30 * np.sin(speed * time), 45 + 0 * time], axis=-1)
    joints = middle + rng.uniform(-15, 15, (1, 17, 2)) + rng.normal(0, 0.5, (24, 17, 2))
    np.save(
        folder / f"{name}.npy", np.concatenate([joints, np.ones((24, 17, 1))], axis=-1).astype(np.float32)
    )
    with av.open(str(folder / f"{name}.mp4"), "w") as video:
        stream = video.add_stream("mpeg4", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for t in range(24):
            image = np.full((96, 128, 3), 30, dtype=np.uint8)
            x, y = middle[t, 0].astype(int)
            image[max(y - 15, 0) : y + 15, max(x - 15, 0) : x + 15] = 220
            for packet in stream.encode(av.VideoFrame.from_ndarray(image)):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)


def test_own_data_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for n in range(24):
        label, speed = (("wave", 0.9), ("drink", 0.2))[n % 2]
        _write_clip(tmp_path / "mine" / label, f"clip{n:02d}", rng, speed)
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Your own data")[1]
    block = re.search(r"```bash\n(.*?)```", text, re.DOTALL)
    assert block is not None
    lines = [line for line in block.group(1).splitlines() if not line.startswith("#")]
    assert 0 < len(lines) <= 10
    monkeypatch.chdir(tmp_path)
    outputs = []
    for line in lines:
        words = shlex.split(line.replace("--epochs 30", "--epochs 1"))
        done = CliRunner().invoke(COMMANDS[words[0]], words[1:], catch_exceptions=False)
        assert done.exit_code == 0, f"{line}\n{done.output}"
        outputs.append(done.output)
    assert "24 samples: 24 with video and skeleton" in outputs[0]
    assert "24 samples, 2 classes, layout coco17" in outputs[2]
    assert "top-1" in outputs[-1]
