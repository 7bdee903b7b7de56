from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.poses import centre_poses, peek_shape, read_poses


def read(path: Path, joints: int = 17, dimensions: int = 2):
    return read_poses(path, num_joints=joints, dimensions=dimensions)


def save(folder: Path, array: np.ndarray, name: str = "a.npy") -> Path:
    np.save(folder / name, array)
    return folder / name


def flat_poses(frames: int = 6, bodies: int = 1) -> np.ndarray:
    """(M, T, 17, 3): pixels of a 640 × 480 image and scores."""
    rng = np.random.default_rng(0)
    places = rng.uniform(100, 400, (bodies, frames, 17, 2))
    return np.concatenate((places, np.full((bodies, frames, 17, 1), 0.9)), axis=-1)


def test_one_body_and_many_bodies_come_as_frames_bodies(tmp_path: Path):
    poses = flat_poses(bodies=2)
    assert read(save(tmp_path, poses[0], "one.npy")).joints.shape == (6, 1, 17, 3)
    bodies = read(save(tmp_path, poses, "two.npy"))
    np.testing.assert_allclose(bodies.joints[4, 1], poses[1, 4], rtol=1e-6)


def test_flat_poses_are_the_pixels_for_the_crop_unless_the_score_is_zero(tmp_path: Path):
    poses = flat_poses()
    poses[0, 2, 5, 2] = 0
    bodies = read(save(tmp_path, poses))
    np.testing.assert_allclose(bodies.pixels[2, 0, 4], poses[0, 2, 4, :2], rtol=1e-6)
    assert np.isnan(bodies.pixels[2, 0, 5]).all()


def test_two_values_a_joint_get_a_score_of_one(tmp_path: Path):
    bodies = read(save(tmp_path, flat_poses()[..., :2]), dimensions=3)
    assert (bodies.joints[..., 2] == 1).all() and bodies.pixels is not None


def test_solid_poses_have_no_pixels(tmp_path: Path):
    assert read(save(tmp_path, np.ones((5, 25, 3))), joints=25, dimensions=3).pixels is None


@pytest.mark.parametrize("absent", [0.0, np.nan])
def test_body_of_zeros_or_of_no_numbers_is_absent(tmp_path: Path, absent: float):
    poses = flat_poses(bodies=2)
    poses[1, 3] = absent
    bodies = read(save(tmp_path, poses))
    assert not bodies.present[3, 1] and bodies.present.sum() == 11 and np.isfinite(bodies.joints).all()


def test_npz_with_scores_beside_the_poses_and_frames_a_second(tmp_path: Path):
    poses = flat_poses(bodies=2)
    np.savez(tmp_path / "a.npz", keypoint=poses[..., :2], keypoint_score=poses[..., 2], fps=24)
    bodies = read(tmp_path / "a.npz")
    assert bodies.fps == 24
    np.testing.assert_allclose(bodies.joints[..., 2], 0.9, rtol=1e-6)


@pytest.mark.parametrize("compressed", [False, True])
def test_only_array_of_an_npz_may_have_any_name(tmp_path: Path, compressed: bool):
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", anything=flat_poses())
    assert read(tmp_path / "a.npz").num_frames == 6
    assert peek_shape(tmp_path / "a.npz") == (1, 6, 17, 3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((5, 18, 3)), r"shape \(1, 5, 18, 3\), expected .*17.*--layout"),
        (np.ones((5, 17)), "expected"),
        (np.ones((0, 17, 3)), "no frames"),
        (np.zeros((5, 17, 3)), "nobody in any of its 5 frames"),
        (np.where(np.arange(17)[:, None] == 3, np.nan, np.ones((5, 17, 3))), "frame 0: joint value nan"),
        (np.full((5, 17, 3), 1e12), "lies beyond"),
        (np.full((5, 17, 3), "a"), "expected numbers"),
    ],
)
def test_bad_arrays_are_one_clear_line(tmp_path: Path, array: np.ndarray, message: str):
    with pytest.raises(SampleError, match=message):
        read(save(tmp_path, array))


def test_array_of_python_objects_is_refused_and_nothing_is_run(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.array([Path], dtype=object), allow_pickle=True)
    with pytest.raises(SampleError, match="Python objects"):
        read(tmp_path / "a.npy")


def test_pickle_with_the_name_of_an_array_is_refused(tmp_path: Path):
    (tmp_path / "a.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(SampleError, match="not a readable array file"):
        read(tmp_path / "a.npy")


def test_header_that_promises_more_than_memory_is_refused(tmp_path: Path):
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 17, 3)}
    np.lib.format.write_array_header_1_0(stream, header)
    (tmp_path / "a.npy").write_bytes(stream.getvalue())
    with pytest.raises(SampleError, match="more than any clip has"):
        read(tmp_path / "a.npy")


def test_npz_without_poses_names_what_it_holds(tmp_path: Path):
    np.savez(tmp_path / "a.npz", b=np.ones(3), c=np.ones(3))
    with pytest.raises(SampleError, match="it holds b, c"):
        read(tmp_path / "a.npz")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from([".npy", ".npz"]))
def test_damaged_files_give_only_sample_errors(tmp_path: Path, data: st.DataObject, suffix: str):
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, flat_poses())
    else:
        np.savez_compressed(path, keypoint=flat_poses())
    content = bytearray(path.read_bytes())
    content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    peek_shape(path)
    with contextlib.suppress(SampleError):
        read(path)


def test_encrypted_or_broken_zip_is_a_sample_error(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("poses.npy", b"no array")
    with pytest.raises(SampleError, match="not a readable array file"):
        read(tmp_path / "a.npz")


def test_cleaning_does_not_depend_on_the_size_of_the_image(tmp_path: Path):
    poses = flat_poses()
    large = poses * [3, 3, 1] + [50, 20, 0]
    clips = [
        centre_poses(read(save(tmp_path, array, f"{place}.npy")), centre=0, dimensions=2, num_bodies=2)
        for place, array in enumerate((poses, large))
    ]
    np.testing.assert_allclose(clips[0].joints, clips[1].joints, atol=1e-5)
    assert (clips[0].joints[0, 0, 0, :2] == 0).all() and np.abs(clips[0].joints[..., :2]).max() <= 2


def test_joint_without_a_score_becomes_zero(tmp_path: Path):
    poses = flat_poses()
    poses[0, 1, 4] = 0
    clip = centre_poses(read(save(tmp_path, poses)), centre=0, dimensions=2, num_bodies=2)
    assert (clip.joints[1, 0, 4] == 0).all()


def test_bodies_seen_longest_are_kept_and_empty_frames_dropped(tmp_path: Path):
    poses = flat_poses(frames=6, bodies=3)
    poses[:, 2] = 0
    poses[1, 3:] = 0
    bodies = read(save(tmp_path, poses))
    clip = centre_poses(bodies, centre=0, dimensions=2, num_bodies=2)
    assert clip.joints.shape == (5, 2, 17, 3)
    np.testing.assert_array_equal(clip.pixels[0, 1], bodies.pixels[0, 2])


def test_solid_poses_are_only_moved(tmp_path: Path):
    poses = np.random.default_rng(0).normal(size=(5, 25, 3))
    bodies = read(save(tmp_path, poses), joints=25, dimensions=3)
    clip = centre_poses(bodies, centre=20, dimensions=3, num_bodies=2)
    np.testing.assert_allclose(clip.joints[:, 0], poses - poses[0, 20], atol=1e-6)
