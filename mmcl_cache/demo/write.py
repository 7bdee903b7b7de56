"""Write a clip as NTU distributes them: the colour video and the skeleton text."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from mmcl_cache.demo.camera import HEIGHT, WIDTH, Camera
from mmcl_cache.demo.figure import BONES
from mmcl_cache.demo.sensor import Reading

__all__ = ["format_skeleton", "write_skeleton", "write_video"]

FIRST_BODY = 72057594037931101  # Kinect's body ids look like this
GOP = 12
JOINT_LINE = "%.7g " * 11 + "%d"


def write_video(path: Path, frames: Iterable[Image.Image], fps: int) -> None:
    """MPEG-4 in AVI, no B-frames, as the real files; the same frames give the same bytes. Renamed into place."""
    unfinished = path.with_name(path.name + ".part")
    with av.open(str(unfinished), "w", format="avi", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(
            "mpeg4", rate=Fraction(fps), options={"flags": "+bitexact", "qmin": "3", "qmax": "6"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = 2_500_000
        stream.gop_size, stream.max_b_frames, stream.thread_count = GOP, 0, 1
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    os.replace(unfinished, path)


def write_skeleton(path: Path, reading: Reading, camera: Camera) -> None:
    """The .skeleton text of one clip, renamed into place."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(format_skeleton(reading, camera), encoding="ascii", newline="\n")
    os.replace(unfinished, path)


def format_skeleton(reading: Reading, camera: Camera) -> str:
    """NTU's text format: frames, bodies, and per joint position, depth and colour pixels, orientation, tracking.

    Colour pixels are those of the demo's own video, which is smaller than Kinect's.
    """
    joints = reading.joints
    length = len(joints)
    values = np.concatenate(
        [joints, camera.depth(joints), camera.colour(joints), _orientations(joints)], -1
    )  # (T, M, 25, 11)
    lines = [str(length)]
    for t in range(length):
        here = np.flatnonzero(reading.present[t])
        lines.append(str(len(here)))
        for m in here:
            lines.append(f"{FIRST_BODY + m} 0 1 1 1 1 0 0.01 0.02 2")
            lines.append(str(joints.shape[2]))
            rows = zip(values[t, m].tolist(), reading.tracked[t, m].tolist(), strict=True)
            lines += [JOINT_LINE % (*v, s) for v, s in rows]
    return "\n".join(lines) + "\n"


def _orientations(joints: np.ndarray) -> np.ndarray:
    """(T, M, 25, 4) quaternions w x y z that turn the y axis along each joint's bone; zeros at ends, as Kinect's."""
    turns = np.zeros((*joints.shape[:3], 4))
    turns[:, :, 0, 0] = 1.0
    ends = set(range(25)) - {parent for _, parent in BONES}
    for child, parent in BONES:
        if child in ends:
            continue
        bone = joints[:, :, child] - joints[:, :, parent]
        x, y, z = np.moveaxis(bone / np.maximum(np.linalg.norm(bone, axis=-1, keepdims=True), 1e-9), -1, 0)
        turn = np.stack([1 + y, z, np.zeros_like(x), -x], -1)
        turns[:, :, child] = turn / np.maximum(np.linalg.norm(turn, axis=-1, keepdims=True), 1e-9)
    return turns
