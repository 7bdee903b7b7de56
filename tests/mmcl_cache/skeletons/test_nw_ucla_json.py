from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.nw_ucla import read_nw_ucla


def write_sequence(folder: Path, name: str = "a08_s01_e00_v02", **changes: Any) -> Path:
    content = {"file_name": name, "skeletons": np.ones((4, 20, 3)).tolist(), "label": 7, **changes}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


def test_sequence_has_one_body_in_every_frame(tmp_path: Path):
    bodies = read_nw_ucla(write_sequence(tmp_path))
    assert bodies.joints.shape == (4, 1, 20, 3) and bodies.present.all() and bodies.pixels is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 8}, "says label 8, its name says 7"),
        ({"file_name": "a08_s01_e00_v01"}, "says it is 'a08_s01_e00_v01'"),
        ({"skeletons": []}, "no frames"),
        ({"skeletons": [[1, 2], [3]]}, "not numbers in equal rows"),
        ({"skeletons": np.ones((4, 25, 3)).tolist()}, r"shape \(4, 25, 3\), expected \(frames, 20, 3\)"),
        ({"skeletons": [[[float("nan")] * 3] * 20]}, "frame 0: joint value nan"),
        ({"skeletons": [[[1e6] * 3] * 20]}, "lies beyond"),
    ],
)
def test_bad_content_is_one_clear_line(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(SampleError, match=message):
        read_nw_ucla(write_sequence(tmp_path, **changes))


@pytest.mark.parametrize("text", ["", '{"file_name": "a', "[1, 2]", "[" * 5000])
def test_cut_or_other_json_is_a_sample_error(tmp_path: Path, text: str):
    path = tmp_path / "a01_s01_e00_v01.json"
    path.write_text(text)
    with pytest.raises(SampleError, match="a01_s01_e00_v01"):
        read_nw_ucla(path)


def test_every_real_sequence_can_be_read(shared: Path):
    paths = sorted((shared / "data/nw_ucla/all_sqe").iterdir())
    # A sample of them: all 1,484 take a second, and the builds read all.
    lengths = [read_nw_ucla(path).num_frames for path in paths[::10]]
    assert len(paths) == 1484 and min(lengths) >= 1
