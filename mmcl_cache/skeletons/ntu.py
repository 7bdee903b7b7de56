"""The `.skeleton` text of NTU RGB+D: strict about structure, and fast.

Source: the data set's own description of the format (NTU RGB+D, CVPR 2016): the frame count; per frame the body
count; per body one line of 10 values (the first is its id), the joint count, and a line of 12 values a joint: x y z
in metres, depth x y and colour x y in pixels, orientation (4), tracking state.

Speed: all lines are split in one `map`, the widths of a body's 25 joint lines are compared in one step, and only the
5 columns that are kept become numbers, all in one conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.bodies import Bodies, check_joints
from mmcl_cache.store.regular import read_regular

FPS = 30.0
LARGEST_BYTES = 1 << 26
"""Clips have less than a hundredth of it; a file that has more takes gigabytes when it is split."""
NUM_JOINTS = 25
_BODY_VALUES = 10
_JOINT_VALUES = 12
_MOST_BODIES = 100
_MOST_PLACES = 300_000  # frames × bodies: 150 MB
_MOST_WORDS = 3_000_000  # of 56 bytes and more, once they are split off: five minutes of one person
_BLANKS = (b" ", b"\n", b"\t", b"\r", b"\v", b"\f")
_KEPT = (0, 1, 2, 5, 6)
_JOINT_WIDTHS = [_JOINT_VALUES] * NUM_JOINTS
# What the C runtime of Windows printed for values that are no number.
_WINDOWS_NUMBERS = {
    b"1.#INF": b"inf",
    b"-1.#INF": b"-inf",
    b"1.#QNAN": b"nan",
    b"-1.#QNAN": b"nan",
    b"1.#IND": b"nan",
    b"-1.#IND": b"nan",
}


def read_ntu_skeleton(path: Path) -> Bodies:
    """All bodies of a `.skeleton` file, as recorded.

    Body m is the m-th tracking id in order of first appearance; T is the file's frame count, frames without a body
    included, so that it runs along the video.

    Raises:
        SampleError: the file is missing, empty, cut short, longer than it says, holds something that is no number, a
            joint value no camera could have seen, or no body at all; the message names the file and the frame.
    """
    try:
        data = read_regular(path, LARGEST_BYTES)
    except OSError as error:
        raise SampleError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_ntu_skeleton(data, path)


def parse_ntu_skeleton(data: bytes, path: Path) -> Bodies:
    """What `read_ntu_skeleton` does, on text already read; `path` is only named in messages."""
    if len(data) > _MOST_WORDS and sum(map(data.count, _BLANKS)) > _MOST_WORDS:
        raise SampleError(f"{path}: more than {_MOST_WORDS:,} words; no clip has so many; get the file again")
    rows = list(map(bytes.split, data.split(b"\n")))
    while rows and not rows[-1]:
        rows.pop()
    if not rows:
        raise SampleError(f"{path}: the file is empty; get it again")
    num_frames = _count(rows[0], path, "line 1", "the number of frames")
    frames, bodies, num_slots, joint_rows = _walk(rows, num_frames, path)
    values = _convert(joint_rows, path, frames)

    joints = np.zeros((num_frames, num_slots, NUM_JOINTS, 3), dtype=np.float32)
    pixels = np.full((num_frames, num_slots, NUM_JOINTS, 2), np.nan, dtype=np.float32)
    present = np.zeros((num_frames, num_slots), dtype=bool)
    seen = values.reshape(len(_KEPT), -1, NUM_JOINTS)
    # A joint the colour camera could not see has no finite pixel; that is no fault of the skeleton.
    colour = np.where(np.abs(seen[3:]) < 1e6, seen[3:], np.nan)
    # Checked before the cast, which would overflow without a word.
    xyz = np.moveaxis(seen[:3], 0, -1)
    check_joints(xyz, path, frames=frames)
    joints[frames, bodies] = xyz
    pixels[frames, bodies] = np.moveaxis(colour, 0, -1)
    present[frames, bodies] = True
    return Bodies(joints, pixels, present, FPS)


def _walk(
    rows: Sequence[list[bytes]], num_frames: int, path: Path
) -> tuple[list[int], list[int], int, list[list[bytes]]]:
    """Check the structure line by line.

    Returns:
        the frame and the slot of each body seen, the number of slots, and the joint lines of all of them in order.
    """
    if num_frames == 0:
        raise SampleError(f"{path}: says it has 0 frames; leave the sample out")
    widths = list(map(len, rows))
    end = len(rows)
    slots: dict[bytes, int] = {}
    frames: list[int] = []
    bodies: list[int] = []
    joint_rows: list[list[bytes]] = []
    at = 1
    for frame in range(num_frames):
        where = f"frame {frame} of {num_frames} (line {at + 1})"
        if at >= end:
            raise SampleError(f"{path}: cut short at {where}: expected a body count; get the file again")
        count = _count(rows[at], path, where, "a body count")
        at += 1
        for body in range(count):
            stop = at + 2 + NUM_JOINTS
            # One comparison for the sound case; which of the three faults it is matters only for the message.
            if (
                stop > end
                or widths[at] != _BODY_VALUES
                or rows[at + 1] != [b"25"]
                or widths[at + 2 : stop] != _JOINT_WIDTHS
            ):
                raise SampleError(_body_fault(rows, at, path, f"frame {frame} of {num_frames}, body {body}"))
            slot = slots.setdefault(rows[at][0], len(slots))
            if slot >= _MOST_BODIES:
                raise SampleError(
                    f"{path}: {where}: more than {_MOST_BODIES} different bodies; no recording has so many; "
                    "get the file again"
                )
            if slot in bodies[len(bodies) - body :]:
                raise SampleError(
                    f"{path}: {where}: body id {rows[at][0].decode('ascii', 'replace')} is there twice"
                )
            frames.append(frame)
            bodies.append(slot)
            joint_rows += rows[at + 2 : stop]
            at = stop
    if at < end:
        raise SampleError(
            f"{path}: {end - at} lines are left after its {num_frames} frames (from line {at + 1}); get the file again"
        )
    if num_frames * len(slots) > _MOST_PLACES:
        raise SampleError(
            f"{path}: {num_frames} frames of {len(slots)} different bodies; no recording has so many; "
            "get the file again"
        )
    if not frames:
        raise SampleError(f"{path}: no body in any of its {num_frames} frames; leave the sample out")
    return frames, bodies, len(slots), joint_rows


def _count(row: list[bytes], path: Path, where: str, what: str) -> int:
    if len(row) != 1 or not row[0].isdigit() or len(row[0]) > 9:
        raise SampleError(f"{path}: {where}: expected {what}, found {_show(row)}; get the file again")
    return int(row[0])


def _body_fault(rows: Sequence[list[bytes]], at: int, path: Path, where: str) -> str:
    """What is wrong with the body that begins at row `at`, as one line."""
    expected = [
        (_BODY_VALUES, "the 10 values of a body"),
        (1, "the joint count 25"),
        *((_JOINT_VALUES, f"the 12 values of joint {joint + 1} of 25") for joint in range(NUM_JOINTS)),
    ]
    for row, (width, what) in enumerate(expected, start=at):
        if row >= len(rows) or (row == len(rows) - 1 and len(rows[row]) < width):
            return f"{path}: cut short at {where} (line {row + 1}): expected {what}; get the file again"
        if len(rows[row]) != width or (row == at + 1 and rows[row] != [b"25"]):
            return f"{path}: {where} (line {row + 1}): expected {what}, found {_show(rows[row])}; get the file again"
    raise AssertionError("called for a sound body")


def _show(row: list[bytes]) -> str:
    text = b" ".join(row).decode("ascii", "backslashreplace")
    return f"{len(row)} values: {text[:40]!r}" if len(row) != 1 else repr(text[:40])


def _convert(joint_rows: list[list[bytes]], path: Path, frames: list[int]) -> NDArray[np.float64]:
    """(5, rows) float64: x, y, z, colour x, colour y of every joint line."""
    tokens = list(chain.from_iterable(joint_rows))
    columns = [tokens[k::_JOINT_VALUES] for k in _KEPT]
    try:
        return np.array(columns, dtype=np.float64)
    except ValueError:
        pass
    values = np.empty((len(_KEPT), len(joint_rows)), dtype=np.float64)
    for k, column in enumerate(columns):
        for row, token in enumerate(column):
            try:
                values[k, row] = float(_WINDOWS_NUMBERS.get(token, token))
            except ValueError:
                frame = frames[row // NUM_JOINTS]
                raise SampleError(
                    f"{path}: frame {frame}, joint {row % NUM_JOINTS + 1} of 25: {_show([token])} is not a number; "
                    "get the file again"
                ) from None
    return values
