from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.matlab import read_kinect_mat


def test_axes_come_as_frames_bodies_joints_axes(tmp_path: Path):
    stored = np.random.default_rng(0).normal(size=(20, 3, 7))
    savemat(tmp_path / "a.mat", {"d_skel": stored})
    bodies = read_kinect_mat(tmp_path / "a.mat", "d_skel")
    assert bodies.fps == 30
    np.testing.assert_allclose(bodies.joints[5, 0], stored[:, :, 5], rtol=1e-6)


def test_one_frame_keeps_its_axis(tmp_path: Path):
    savemat(tmp_path / "a.mat", {"SW": np.ones((20, 3))})
    assert read_kinect_mat(tmp_path / "a.mat", "SW").joints.shape == (1, 1, 20, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": np.ones(3)}, "no numbers named d_skel"),
        ({"d_skel": "text"}, "no numbers named d_skel"),
        ({"d_skel": np.ones((3, 20, 5))}, r"shape \(3, 20, 5\)"),
        ({"d_skel": np.ones((20, 3, 0))}, "no frames"),
        ({"d_skel": np.full((20, 3, 5), np.nan)}, "frame 0: joint value nan"),
    ],
)
def test_bad_content_is_one_clear_line(tmp_path: Path, content: dict[str, object], message: str):
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(SampleError, match=message):
        read_kinect_mat(tmp_path / "a.mat", "d_skel")


def test_missing_file_is_a_sample_error(tmp_path: Path):
    with pytest.raises(SampleError, match=r"none\.mat"):
        read_kinect_mat(tmp_path / "none.mat", "d_skel")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), compressed=st.booleans())
def test_damaged_file_gives_only_sample_errors(tmp_path: Path, data: st.DataObject, compressed: bool):
    path = tmp_path / "a.mat"
    savemat(path, {"d_skel": np.ones((20, 3, 4))}, do_compression=compressed)
    content = bytearray(path.read_bytes())
    content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(1, 3))):
        if content:
            content[data.draw(st.integers(0, min(len(content), 300) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(SampleError):
        read_kinect_mat(path, "d_skel")
