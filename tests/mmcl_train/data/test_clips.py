"""Clips of a batch equal the published ones, sample by sample."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmcl_train.data.clips import TRANSFORMS, ClipSettings, clip_settings, create_transform
from mmcl_train.data.recordings import Recordings
from mmcl_train.data.rotation import rotation_matrices
from tests.mmcl_train.data.plain_clips import cut_clip, cut_ucla, turn

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "golden"
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="reference values (../shared/golden) are absent"
)


def load_recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipe", GOLDEN / "recipe.py")
    assert spec is not None and spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe


def pack(samples: list[np.ndarray]) -> Recordings:
    """(T, M, V, C) samples as recordings."""
    frames = torch.tensor([len(s) for s in samples])
    bodies = torch.tensor([s.shape[1] for s in samples])
    ends = (frames * bodies).cumsum(0)
    rows = [torch.from_numpy(s).flatten(0, 1) for s in samples]
    flat = torch.cat([*rows, torch.zeros_like(rows[0][:1])])
    return Recordings(flat, torch.cat([torch.zeros(1, dtype=torch.int64), ends[:-1]]), frames, bodies)


def make_samples(frames: list[int], bodies: list[int], joints: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(t, m, joints, 3) for t, m in zip(frames, bodies, strict=True)]
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def pad_bodies(sample: np.ndarray, num_bodies: int) -> np.ndarray:
    padded = np.zeros((len(sample), num_bodies, *sample.shape[2:]), dtype=sample.dtype)
    count = min(num_bodies, sample.shape[1])
    padded[:, :count] = sample[:, :count]
    return padded


FRAMES, BODIES = [1, 2, 40, 64, 65, 103, 300, 7], [1, 2, 2, 1, 2, 1, 3, 2]


@needs_golden
@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_clip_equals_published_values(name: str) -> None:
    recipe, golden = load_recipe(), np.load(GOLDEN / "clips.npz")
    whole = recipe.skeleton(f"clip/{name}", (1, 3, 300, 25, 2))[0]
    valid = int(golden[f"{name}_valid"])
    recordings = pack([whole[:, :valid].transpose(1, 3, 2, 0).copy()])
    settings = ClipSettings(length=golden[name].shape[1])
    clip = create_transform(settings, 2, 3, 300, "cpu")(recordings, None).transpose(3, 4)[0]
    best = np.abs(clip.numpy() - golden[name]).max()
    assert best < 1e-5, f"largest difference {best}"


@needs_golden
def test_rotation_equals_published_matrix() -> None:
    golden = np.load(GOLDEN / "clips.npz")["rotation_0.1_-0.2_0.3"]
    np.testing.assert_allclose(rotation_matrices(torch.tensor([0.1, -0.2, 0.3])).numpy(), golden, atol=1e-7)


@pytest.mark.parametrize("length", [64, 52, 20])
def test_training_batch_equals_per_sample_crop_resize_and_rotation(length: int) -> None:
    samples = make_samples(FRAMES, BODIES)
    transform = create_transform(ClipSettings(length=length), 2, 3, 300, "cpu")
    draws = transform.draw(len(samples), torch.Generator().manual_seed(1))
    batch = transform(pack(samples), draws).transpose(3, 4)
    assert batch.shape == (8, 3, length, 5, 2)
    for n, sample in enumerate(samples):
        plain = cut_clip(pad_bodies(sample, 2), length, (0.5, 1.0), draws[n].numpy(), 0.3)
        np.testing.assert_allclose(batch[n].numpy(), plain, atol=2e-5)


def test_test_batch_equals_per_sample_centre_crop() -> None:
    samples = make_samples(FRAMES, BODIES)
    transform = create_transform(ClipSettings(length=64), 2, 3, 300, "cpu")
    batch = transform(pack(samples), None).transpose(3, 4)
    for n, sample in enumerate(samples):
        plain = cut_clip(pad_bodies(sample, 2), 64, 0.95, None, 0)
        np.testing.assert_allclose(batch[n].numpy(), plain, atol=2e-5)


def test_centre_crop_of_every_length_is_the_published_integer() -> None:
    transform = create_transform(ClipSettings(), 2, 3, 400, "cpu")
    begin, length = transform._window(torch.arange(1, 401), None)
    wanted = [int((1 - 0.95) * valid / 2) for valid in range(1, 401)]
    assert begin.tolist() == wanted
    assert length.tolist() == [valid - 2 * cut for valid, cut in zip(range(1, 401), wanted, strict=True)]


def test_crop_stays_inside_the_sample_for_extreme_draws() -> None:
    transform = create_transform(ClipSettings(), 2, 3, 400, "cpu")
    frames = torch.arange(1, 401)
    for value in (0.0, 1 - 2**-24):
        begin, length = transform._window(frames, torch.full((400, 5), value))
        earlier, later, weight = transform._neighbours(begin, length)
        assert (begin >= 0).all() and (begin + length <= frames).all() and (length >= 1).all()
        assert (earlier >= 0).all() and (later < frames[:, None]).all() and (weight >= 0).all()


def test_crop_keeps_at_least_64_frames_where_there_are() -> None:
    transform = create_transform(ClipSettings(), 2, 3, 400, "cpu")
    frames = torch.full((2000,), 100)
    _, length = transform._window(frames, transform.draw(2000, torch.Generator().manual_seed(0)))
    assert length.min() == 64 and length.max() >= 98


def test_rotation_keeps_distances_and_rows_of_zeros() -> None:
    samples = make_samples([80], [1])
    transform = create_transform(ClipSettings(crop=(1.0, 1.0), length=80), 2, 3, 80, "cpu")
    clip = transform(pack(samples), transform.draw(1, torch.Generator().manual_seed(5)))
    lengths = clip[0, :, :, 0].norm(dim=0)
    np.testing.assert_allclose(lengths.numpy(), np.linalg.norm(samples[0][:, 0], axis=-1), atol=1e-5)
    assert not clip[0, :, :, 1].any()


def test_plain_rotation_and_matrices_agree() -> None:
    angles = torch.tensor([0.2, 0.1, -0.3], dtype=torch.float64)
    point = np.array([[[[1.0, 2.0, 3.0]]]])
    np.testing.assert_allclose(
        turn(point, angles.numpy())[0, 0, 0], rotation_matrices(angles).numpy() @ point[0, 0, 0]
    )


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_nw_ucla_training_batch_equals_published_steps_whatever_the_scale(scale: float) -> None:
    samples = make_samples([1, 2, 17, 52, 120], [1] * 5, joints=20)
    transform = create_transform(ClipSettings("nw-ucla", 52), 1, 3, 120, "cpu")
    draws = transform.draw(5, torch.Generator().manual_seed(2))
    batch = transform(pack(samples), draws).transpose(3, 4)
    for n, sample in enumerate(samples):
        plain = cut_ucla(sample[:, 0], 52, draws[n].numpy(), scale)
        np.testing.assert_allclose(batch[n].numpy(), plain, atol=2e-5)


def test_nw_ucla_test_batch_equals_published_steps() -> None:
    samples = make_samples([1, 2, 17, 52, 120], [1] * 5, joints=20)
    transform = create_transform(ClipSettings("nw-ucla", 52), 1, 3, 120, "cpu")
    batch = transform(pack(samples), None).transpose(3, 4)
    for n, sample in enumerate(samples):
        np.testing.assert_allclose(batch[n].numpy(), cut_ucla(sample[:, 0], 52, None), atol=2e-6)


def test_nw_ucla_view_angles_are_whole_degrees_with_both_ends() -> None:
    transform = create_transform(ClipSettings("nw-ucla", 4), 1, 3, 10, "cpu")
    draws = transform.draw(20000, torch.Generator().manual_seed(0))
    degrees = (draws[:, 0] * 121).floor() - 60
    assert degrees.min() == -60 and degrees.max() == 60 and len(degrees.unique()) == 121


def test_nw_ucla_axis_without_extent_becomes_zero() -> None:
    sample = make_samples([5], [1])[0]
    sample[..., 2] = 4.0
    transform = create_transform(ClipSettings("nw-ucla", 6), 1, 3, 5, "cpu")
    clip = transform(pack([sample]), None)
    assert torch.isfinite(clip).all() and not clip[:, 2].any()


def test_nw_ucla_absent_body_is_zero_and_moves_no_extreme() -> None:
    one, two = make_samples([9, 9], [1, 2])
    transform = create_transform(ClipSettings("nw-ucla", 6), 2, 3, 9, "cpu")
    alone = create_transform(ClipSettings("nw-ucla", 6), 1, 3, 9, "cpu")
    batch = transform(pack([one, two]), None)
    assert not batch[0, :, :, 1].any() and batch[1, :, :, 1].any()
    torch.testing.assert_close(batch[:1, :, :, :1], alone(pack([one]), None))


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("train", [True, False])
def test_every_transform_gives_the_same_clip_alone_and_in_a_batch(name: str, train: bool) -> None:
    samples = make_samples(FRAMES, [min(b, 2) for b in BODIES])
    transform = create_transform(ClipSettings(name, 16), 2, 3, 300, "cpu")
    draws = transform.draw(8, torch.Generator().manual_seed(4)) if train else None
    batch = transform(pack(samples), draws)
    for n, sample in enumerate(samples):
        alone = transform(pack([sample]), None if draws is None else draws[n : n + 1])
        torch.testing.assert_close(batch[n : n + 1], alone, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_runs_without_looking_at_values(name: str) -> None:
    samples = make_samples([3, 9], [1, 2])
    transform = create_transform(ClipSettings(name, 8), 2, 3, 9, "cpu")
    recordings, draws = pack(samples), transform.draw(2, torch.Generator().manual_seed(4))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:  # tensors of shapes alone: .item() would raise
        fake = Recordings(*(mode.from_tensor(tensor) for tensor in recordings))
        assert transform(fake, mode.from_tensor(draws)).shape == (2, 3, 8, 2, 5)
        assert transform(fake, None).shape == (2, 3, 8, 2, 5)


def test_same_generator_state_gives_the_same_draws() -> None:
    transform = create_transform(ClipSettings(), 2, 3, 9, "cpu")
    first, second = (transform.draw(4, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_unknown_transform_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="known: crop-resize, nw-ucla"):
        ClipSettings("random-crop")


def test_rotation_of_flat_skeletons_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"set clip\.rotation=0"):
        create_transform(ClipSettings(), 2, 2, 10, "cpu")
    create_transform(ClipSettings(rotation=0), 2, 2, 10, "cpu")


def test_a_run_overrides_the_clip_of_the_data_set() -> None:
    own = {"transform": "nw-ucla", "length": 52}
    assert clip_settings(own) == ClipSettings("nw-ucla", 52)
    assert clip_settings(own, "crop-resize", 20, crop=[0.6, 1]) == ClipSettings("crop-resize", 20, (0.6, 1))
    with pytest.raises(ValueError, match="unknown clip setting 'lenght'"):
        clip_settings({"lenght": 3})
