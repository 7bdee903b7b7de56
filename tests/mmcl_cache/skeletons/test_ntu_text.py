from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.ntu import parse_ntu_skeleton, read_ntu_skeleton
from tests.mmcl_cache.skeletons.skeleton_text import make_text

HERE = Path("S001C001P001R001A001.skeleton")
# Two neighbours above 2^53, as the sensor gives them: as floats they would be one.
FIRST, SECOND = 72057594037937917, 72057594037937918


def parse(text: str):
    return parse_ntu_skeleton(text.encode(), HERE)


def change_line(text: str, line: int, new: str) -> str:
    """`text` with another line `line`, counted from 1."""
    lines = text.split("\n")
    lines[line - 1] = new
    return "\n".join(lines)


def test_values_are_those_of_the_text():
    text = make_text([[FIRST], [FIRST]])
    bodies = parse(text)
    numbers = [float(value) for value in text.split("\n")[4].split()]
    np.testing.assert_allclose(bodies.joints[0, 0, 0], numbers[:3], rtol=1e-6)
    np.testing.assert_allclose(bodies.pixels[0, 0, 0], numbers[5:7], rtol=1e-6)
    assert bodies.joints.shape == (2, 1, 25, 3) and bodies.fps == 30


def test_ids_that_floats_cannot_tell_apart_are_two_bodies():
    bodies = parse(make_text([[FIRST, SECOND], [SECOND]]))
    assert bodies.present.tolist() == [[True, True], [False, True]]
    assert np.isnan(bodies.pixels[1, 0]).all() and (bodies.joints[1, 0] == 0).all()


def test_frames_without_a_body_stay_on_the_time_line():
    bodies = parse(make_text([[], [FIRST], [], [FIRST]]))
    assert bodies.num_frames == 4 and bodies.present[:, 0].tolist() == [False, True, False, True]


def test_windows_line_ends_read_the_same():
    text = make_text([[FIRST], [FIRST, SECOND]])
    np.testing.assert_array_equal(parse(text).joints, parse(text.replace("\n", "\r\n")).joints)


@pytest.mark.parametrize("token", ["-1.#INF", "-Infinity", "nan", "1.#QNAN"])
def test_colour_pixel_that_is_no_number_is_unknown(token: str):
    text = make_text([[FIRST]])
    values = text.split("\n")[4].split()
    values[5] = token
    bodies = parse(change_line(text, 5, " ".join(values)))
    assert np.isnan(bodies.pixels[0, 0, 0, 0]) and np.isfinite(bodies.joints).all()


@pytest.mark.parametrize("lines", [2, 3, 4, 20, 29, 30])
def test_text_cut_between_lines_names_file_frame_and_what_was_expected(lines: int):
    text = "\n".join(make_text([[FIRST], [FIRST]]).split("\n")[:lines])
    with pytest.raises(SampleError, match=r"S001C001P001R001A001.*cut short at frame \d of 2.*expected"):
        parse(text)


def test_text_cut_inside_a_line_names_the_joint():
    text = make_text([[FIRST]])
    with pytest.raises(
        SampleError,
        match=r"cut short at frame 0 of 1, body 0 \(line 29\): expected the 12 values of joint 25",
    ):
        parse(text[:-20])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("0\n", "0 frames"),
        ("three\n", "expected the number of frames, found 'three'"),
        ("1 2\n", "expected the number of frames"),
        ("1\nx\n", r"frame 0 of 1 \(line 2\): expected a body count"),
        ("2\n0\n0\n", "no body in any of its 2 frames"),
        (make_text([[FIRST, FIRST]]), f"body id {FIRST} is there twice"),
        (make_text([[FIRST]]) + "1\n", "1 lines are left after its 1 frames"),
        (change_line(make_text([[FIRST]]), 4, "24"), "expected the joint count 25, found '24'"),
        (change_line(make_text([[FIRST]]), 3, "1 2"), "expected the 10 values of a body"),
        (change_line(make_text([[FIRST]]), 7, "1 2 3"), "expected the 12 values of joint 3 of 25"),
        (
            change_line(make_text([[FIRST]]), 7, "x" + " 1" * 11),
            "frame 0, joint 3 of 25: 'x' is not a number",
        ),
        (
            change_line(make_text([[FIRST]]), 7, "nan" + " 1" * 11),
            "frame 0: joint value nan is not a finite number",
        ),
        (
            change_line(make_text([[FIRST], [FIRST]]), 35, "1e9" + " 1" * 11),
            r"frame 1: joint value 1e\+09 lies beyond",
        ),
    ],
)
def test_bad_text_is_one_clear_line(text: str, message: str):
    with pytest.raises(SampleError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value) and "S001C001P001R001A001" in str(caught.value)


def test_missing_file_is_a_sample_error(tmp_path: Path):
    with pytest.raises(SampleError, match="No such file"):
        read_ntu_skeleton(tmp_path / "none.skeleton")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_happens_to_a_file_only_sample_errors_come_out(data: st.DataObject):
    damaged = bytearray(make_text([[FIRST], [FIRST, SECOND]], seed=1).encode())
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, max(len(damaged) - 1, 0)))
        piece = data.draw(
            st.sampled_from([b"", b" ", b"\n", b"-", b"9" * 12, b"e", b"\x00", b"\xff", b"nan", b"1e400"])
        )
        damaged[at : at + data.draw(st.sampled_from([0, 1, 2, 3000]))] = piece
    try:
        bodies = parse_ntu_skeleton(bytes(damaged), HERE)
    except SampleError:
        return
    assert np.isfinite(bodies.joints).all() and bodies.present.any()


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=400) | st.text("0123456789 \n.-e", max_size=400).map(str.encode))
def test_any_bytes_give_only_sample_errors(content: bytes):
    with pytest.raises(SampleError):
        parse_ntu_skeleton(content, HERE)


def test_real_files_have_the_bodies_counted_by_hand(shared: Path):
    folder = shared / "data/ntu/nturgb+d_skeletons"
    shapes = {
        path.stem: read_ntu_skeleton(path).present.sum(axis=0).tolist() for path in sorted(folder.iterdir())
    }
    assert shapes == {
        "S001C001P001R001A001": [103],
        "S002C001P003R001A003": [100],
        "S017C003P020R002A054": [42, 42],
        "S017C003P020R002A055": [66, 66],
    }
