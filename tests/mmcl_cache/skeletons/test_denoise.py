from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.bodies import Bodies
from mmcl_cache.skeletons.denoise import centre_on_first, denoise_ntu, select_people
from mmcl_cache.skeletons.ntu import read_ntu_skeleton


def make_bodies(
    spans: list[tuple[int, int]], frames: int = 60, motion: tuple[float, ...] = (), wide: int = -1
) -> Bodies:
    """Bodies m in frames spans[m] (end excluded), upright, jittering by motion[m] metres; body `wide` lies down."""
    rng = np.random.default_rng(0)
    joints = np.zeros((frames, len(spans), 25, 3), np.float32)
    present = np.zeros((frames, len(spans)), bool)
    figure = np.stack((np.linspace(-0.2, 0.2, 25), np.linspace(-0.8, 0.8, 25), np.full(25, 3.0)), axis=-1)
    for body, (start, end) in enumerate(spans):
        shape = figure[:, [1, 0, 2]] if body == wide else figure
        step = motion[body] if motion else 0.1
        joints[start:end, body] = shape + body + 1 + rng.normal(0, step, (end - start, 1, 3))
        present[start:end, body] = True
    pixels = np.where(present[..., None, None], joints[..., :2] * 100 + 1, np.nan).astype(np.float32)
    return Bodies(joints, pixels, present, 30.0)


def test_golden_skeletons_of_the_published_preparation(shared: Path):
    golden = np.load(shared / "golden/ntu_skeletons.npz")
    for name in golden:
        clip = denoise_ntu(read_ntu_skeleton(shared / f"data/ntu/nturgb+d_skeletons/{name}.skeleton"))
        np.testing.assert_allclose(clip.joints.reshape(clip.num_frames, -1), golden[name], rtol=0, atol=1e-6)


def test_lone_body_stays_however_short():
    clip = denoise_ntu(make_bodies([(3, 8)]))
    assert clip.joints.shape == (5, 1, 25, 3)
    assert (clip.joints[0, 0, 1] == 0).all()


def test_body_of_eleven_frames_is_dropped_and_of_twelve_is_kept():
    assert denoise_ntu(make_bodies([(0, 60), (0, 11)])).num_bodies == 1
    assert denoise_ntu(make_bodies([(0, 60), (0, 12)])).num_bodies == 2


def test_last_body_is_never_dropped_for_being_short():
    assert denoise_ntu(make_bodies([(0, 5), (10, 15)])).joints.shape == (5, 1, 25, 3)


def test_body_wider_than_high_is_dropped_unless_it_is_the_last():
    people = select_people(make_bodies([(0, 60), (0, 60)], wide=1))
    assert people.num_bodies == 1 and people.joints[0, 0].mean() < 2.5
    assert select_people(make_bodies([(0, 60)], wide=0)).num_bodies == 1


def test_body_that_moves_more_comes_first():
    bodies = make_bodies([(0, 60), (0, 60)], motion=(0.01, 0.5))
    np.testing.assert_array_equal(select_people(bodies).joints[:, 0], bodies.joints[:, 1])


def test_bodies_one_after_the_other_share_a_slot():
    clip = denoise_ntu(make_bodies([(0, 30), (30, 60)]))
    assert clip.joints.shape == (60, 1, 25, 3) and clip.present.all()


def test_third_body_that_overlaps_both_slots_is_dropped():
    bodies = make_bodies([(0, 60), (5, 60), (10, 60)], motion=(0.5, 0.3, 0.1))
    people = select_people(bodies)
    assert people.num_bodies == 2
    np.testing.assert_array_equal(people.joints[:, 1], bodies.joints[:, 1])


def test_missing_frames_of_the_second_body_stay_zero_after_centring():
    clip = denoise_ntu(make_bodies([(0, 60), (20, 60)], motion=(0.5, 0.1)))
    assert (clip.joints[:20, 1] == 0).all() and (clip.joints[20:, 1] != 0).any()
    assert clip.present[:20, 1].sum() == 0


def test_people_stay_on_the_time_line_with_their_pixels():
    bodies = make_bodies([(10, 50)])
    people = select_people(bodies)
    assert people.num_frames == 60
    np.testing.assert_array_equal(people.pixels[:, 0], bodies.pixels[:, 0])


def test_nobody_is_a_sample_error():
    with pytest.raises(SampleError, match="no body"):
        denoise_ntu(make_bodies([(0, 0)]))


def test_centring_puts_the_joint_of_the_first_frame_in_the_origin():
    clip = centre_on_first(make_bodies([(0, 60)]), 3)
    assert (clip.joints[0, 0, 3] == 0).all() and clip.joints.shape == (60, 1, 25, 3)
