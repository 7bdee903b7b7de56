"""Frames one by one: lines of JSON in, windows of a recording out.

A line is one frame: (V, C) joints of one body, a list (M, V, C) of bodies, {"bodies": {"id": (V, C), …}} where bodies
are tracked by an id, or {"joints": either of the first two}. An empty list is a frame in which nobody is seen.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.skeletons.bodies import Bodies
from mmcl_cache.store import UserError

from .pose_json import gather_bodies

STDIN = Path("standard input")
LONGEST_LINE = 1 << 20
Frame = dict[str, NDArray[np.float64]]


def parse_frame(line: str, number: int, num_joints: int) -> Frame:
    """Body → (V, C) of one line.

    Args:
        number: of the line, from 1, for messages.

    Raises:
        UserError: not JSON, or joints of another number or shape.
    """
    if len(line) > LONGEST_LINE:
        raise UserError(f"{STDIN}: line {number}: longer than {LONGEST_LINE:,} letters; no frame is")
    try:
        content: Any = json.loads(line)
        if isinstance(content, dict):
            content = content["bodies"] if "bodies" in content else content["joints"]
        if isinstance(content, dict):
            frame = {str(body): np.array(joints, dtype=np.float64) for body, joints in content.items()}
        else:
            joints = np.array(content, dtype=np.float64)
            listed = [joints] if joints.ndim in (0, 2) else list(joints)
            frame = {str(body): each for body, each in enumerate(listed)}
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise UserError(f"{STDIN}: line {number}: not a frame of joints ({error})") from None
    for joints in frame.values():
        if joints.ndim != 2 or joints.shape[0] != num_joints or joints.shape[1] not in (2, 3):
            raise UserError(
                f"{STDIN}: line {number}: joints of shape {joints.shape}, the model takes ({num_joints}, 2 or 3)"
            )
    return frame


def read_lines(stream: TextIO) -> Iterator[str]:
    """The lines of a stream; one that is too long is given up to there. Raises UserError where it is no text."""
    try:
        while line := stream.readline(LONGEST_LINE + 2):
            yield line
    except UnicodeDecodeError as error:
        raise UserError(f"{STDIN}: not text in UTF-8 ({error.reason})") from None


def stream_windows(
    lines: Iterable[str], num_joints: int, window: int, hop: int
) -> Iterator[tuple[int, int, Bodies | None]]:
    """(start, stop, bodies) of every window as soon as its last frame is there; None where nobody is in it.

    Args:
        lines: frames; blank lines are skipped.
        window: frames; 0 for everything, given once the lines end.
        hop: frames from one window to the next.

    Raises:
        UserError: a line that is no frame, no frame at all, or fewer than a window.
    """
    held: deque[Frame] = deque(maxlen=window or None)
    count = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        held.append(parse_frame(line, number, num_joints))
        count += 1
        if window and count >= window and (count - window) % hop == 0:
            yield count - window, count, _gather(held, num_joints)
    if not count:
        raise UserError(f"{STDIN}: nothing to predict, no frame came in")
    if window and count < window:
        raise UserError(f"{STDIN}: {count} frames, fewer than --window {window}")
    if not window:
        yield 0, count, _gather(held, num_joints)
    elif (count - window) % hop:
        yield count - window, count, _gather(held, num_joints)


def cut_windows(num_frames: int, window: int, hop: int) -> list[tuple[int, int]]:
    """(start, stop) of the windows of a recording: those of `stream_windows`.

    Raises:
        UserError: the recording is shorter than a window.
    """
    if not window:
        return [(0, num_frames)]
    if num_frames < window:
        raise UserError(
            f"{num_frames} frames, fewer than --window {window}; leave --window out to classify it whole"
        )
    starts = list(range(0, num_frames - window + 1, hop))
    if starts[-1] + window < num_frames:
        starts.append(num_frames - window)
    return [(start, start + window) for start in starts]


def _gather(frames: Iterable[Frame], num_joints: int) -> Bodies | None:
    listed = list(frames)
    if not any(joints.any() for frame in listed for joints in frame.values()):
        return None
    return gather_bodies(listed, num_joints, STDIN)
