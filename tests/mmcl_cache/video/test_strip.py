"""Strips and their JPEG bytes."""

from __future__ import annotations

import numpy as np
import pytest

from mmcl_cache.errors import SampleError
from mmcl_cache.video.crop import Box
from mmcl_cache.video.strip import FILTERS, decode_jpeg, encode_jpeg, make_strip


def plain(*colours: int) -> list[np.ndarray]:
    return [np.full((40, 60, 3), colour, dtype=np.uint8) for colour in colours]


def test_five_tiles_of_96_by_480_lie_side_by_side_in_time_order() -> None:
    strip = make_strip(plain(10, 60, 110, 160, 210), None)
    assert strip.shape == (480, 480, 3) and strip.dtype == np.uint8
    assert strip[:, ::96, 0].tolist() == [[10, 60, 110, 160, 210]] * 480


def test_a_crop_shows_its_box_and_nothing_else() -> None:
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[10:20, 30:50] = 255
    assert (make_strip([image], [Box(30, 10, 50, 20)], tile=(8, 8)) == 255).all()


@pytest.mark.parametrize("filter", list(FILTERS))
def test_every_filter_keeps_a_plain_colour(filter: str) -> None:
    assert (make_strip(plain(77), None, (16, 20), filter) == 77).all()


def test_shrinking_averages_instead_of_picking() -> None:
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    image[:, ::2] = 200
    assert 80 < make_strip([image], None, (4, 4))[:, :, 0].mean() < 120


def test_bad_arguments_are_refused_and_filters_listed() -> None:
    with pytest.raises(ValueError, match="bilinear"):
        make_strip(plain(1), None, filter="area")
    with pytest.raises(ValueError, match="2 images and 1 boxes"):
        make_strip(plain(1, 2), [Box(0, 0, 1, 1)])
    with pytest.raises(ValueError, match="quality"):
        encode_jpeg(plain(1)[0], 0)


def test_jpeg_bytes_are_the_same_every_time_and_close_to_the_strip() -> None:
    y, x = np.mgrid[:480, :480]
    strip = np.stack([x // 2, y // 2, (x + y) // 4], -1).astype(np.uint8)
    data = encode_jpeg(strip, 90)
    assert data == encode_jpeg(strip.copy(), 90)
    assert data != encode_jpeg(strip, 80)
    assert np.abs(decode_jpeg(data).astype(int) - strip).mean() < 2


@pytest.mark.parametrize("keep", [0, 10, 600])
def test_broken_jpeg_bytes_are_an_error_in_one_line(keep: int) -> None:
    data = encode_jpeg(np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8), 90)
    with pytest.raises(SampleError, match="not a readable JPEG") as error:
        decode_jpeg(data[:keep])
    assert "\n" not in str(error.value)
