"""Which frames become tiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcl_cache.video.frames import SAMPLINGS, choose_frames


def test_published_frames_are_multiples_of_a_fifth() -> None:
    assert choose_frames(103, 5).tolist() == [0, 20, 40, 60, 80]
    assert choose_frames(104, 5).tolist() == [0, 20, 40, 60, 80]
    assert choose_frames(5, 5).tolist() == [0, 1, 2, 3, 4]


def test_centre_frames_are_the_middles_of_equal_parts() -> None:
    assert choose_frames(100, 5, "centre").tolist() == [10, 30, 50, 70, 90]
    assert choose_frames(5, 5, "centre").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("sampling", list(SAMPLINGS))
def test_a_short_video_repeats_its_frames_in_time_order(sampling: str) -> None:
    assert choose_frames(1, 5, sampling).tolist() == [0, 0, 0, 0, 0]
    assert choose_frames(3, 5, sampling).tolist() == [0, 0, 1, 1, 2]


@given(st.integers(1, 5000), st.integers(1, 40), st.sampled_from(sorted(SAMPLINGS)))
def test_chosen_frames_exist_and_never_go_back(num_frames: int, tiles: int, sampling: str) -> None:
    indices = choose_frames(num_frames, tiles, sampling)
    assert indices.shape == (tiles,) and indices.dtype == np.int64
    assert indices.min() >= 0 and indices.max() < num_frames
    assert (np.diff(indices) >= 0).all()


def test_an_unknown_sampling_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="published, centre"):
        choose_frames(10, 5, "random")
    with pytest.raises(ValueError, match="at least 1"):
        choose_frames(0, 5)
