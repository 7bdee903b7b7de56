"""Boxes around people, and skeleton frames of video frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcl_cache.video.crop import Box, align_indices, person_boxes

SIZE = (1920, 1080)


def two_bodies() -> np.ndarray:
    """(T=3, M=2, V=2, 2): body 0 moves right by 10 px a frame; body 1 is there in frame 1 alone."""
    pixels = np.full((3, 2, 2, 2), np.nan, dtype=np.float32)
    for t in range(3):
        pixels[t, 0] = [[100 + 10 * t, 200], [150 + 10 * t, 400]]
    pixels[1, 1] = [[600, 100], [700, 500]]
    return pixels


def test_clip_box_holds_every_joint_of_every_body_and_frame() -> None:
    assert person_boxes(two_bodies(), [0, 2], SIZE, 0.0) == [Box(100, 100, 700, 500)] * 2


def test_frame_boxes_hold_the_bodies_of_their_own_frame() -> None:
    boxes = person_boxes(two_bodies(), [0, 1, 2], SIZE, 0.0, "frame")
    assert boxes == [Box(100, 200, 150, 400), Box(110, 100, 700, 500), Box(120, 200, 170, 400)]


def test_slack_is_a_share_of_the_box_on_each_side_and_stops_at_the_image() -> None:
    pixels = np.array([[[[100, 100], [200, 300]]]], dtype=np.float32)
    assert person_boxes(pixels, [0], SIZE, 0.1) == [Box(90, 80, 210, 320)]
    assert person_boxes(pixels, [0], (150, 110), 2.0) == [Box(0, 80, 150, 110)]


def test_missing_joints_and_a_frame_without_joints_are_passed_over() -> None:
    pixels = two_bodies()
    pixels[0, 0, 0] = 0
    pixels[2] = np.nan
    pixels[1, 0, 1] = np.inf
    boxes = person_boxes(pixels, [0, 2], SIZE, 0.0, "frame")
    assert boxes is not None
    assert boxes[0] == Box(150, 400, 151, 401)
    assert boxes[1] == Box(110, 100, 700, 500)


def test_no_usable_pixel_means_no_box() -> None:
    assert person_boxes(None, [0], SIZE, 0.1) is None
    assert person_boxes(np.full((4, 1, 25, 2), np.nan), [0], SIZE, 0.1) is None
    assert person_boxes(np.zeros((4, 1, 25, 2)), [0], SIZE, 0.1) is None
    assert person_boxes(np.full((4, 1, 25, 2), -500.0), [0], SIZE, 0.1) is None


def test_one_joint_on_the_far_edge_gives_a_box_of_a_pixel() -> None:
    boxes = person_boxes(np.array([[[[1919.5, 1079.5]]]]), [0], SIZE, 0.2)
    assert boxes == [Box(1919, 1079, 1920, 1080)]


@given(
    st.lists(st.tuples(st.floats(-3e4, 3e4), st.floats(-3e4, 3e4)), min_size=1, max_size=12), st.floats(0, 3)
)
def test_boxes_always_lie_in_the_image_and_have_area(points: list[tuple[float, float]], slack: float) -> None:
    boxes = person_boxes(np.array(points)[None, None], [0], (320, 240), slack)
    for box in boxes or []:
        assert 0 <= box.left < box.right <= 320 and 0 <= box.top < box.bottom <= 240


def test_an_unknown_scope_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="clip, frame"):
        person_boxes(two_bodies(), [0], SIZE, 0.1, "body")


def test_streams_of_equal_length_are_aligned_frame_by_frame() -> None:
    assert align_indices([0, 20, 40], 103, 30.0, 103, 15.0).tolist() == [0, 20, 40]


def test_streams_of_other_rates_are_aligned_by_time() -> None:
    # 15 and 30 frames a second, the skeleton stops a little early
    assert align_indices([0, 10, 20, 45], 46, 15.0, 88, 30.0).tolist() == [1, 21, 41, 87]


def test_streams_that_cannot_be_timed_are_aligned_by_their_share() -> None:
    assert align_indices([0, 50, 99], 100, None, 50, None).tolist() == [0, 25, 49]
    assert align_indices([0, 50, 99], 100, 30.0, 50, 30.0).tolist() == [0, 25, 49]


@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.sampled_from([None, 15.0, 30.0]),
    st.sampled_from([None, 30.0]),
)
def test_aligned_indices_exist(
    video: int, skeleton: int, video_fps: float | None, skeleton_fps: float | None
) -> None:
    found = align_indices(np.arange(video), video, video_fps, skeleton, skeleton_fps)
    assert found.min() >= 0 and found.max() < skeleton
    assert (np.diff(found) >= 0).all()
