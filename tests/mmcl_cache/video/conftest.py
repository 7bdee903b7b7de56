"""A corpus of small generated videos whose every frame carries its own number."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

WIDTH, HEIGHT, COUNT = 96, 64, 60
BITS, BLOCK = 8, 24


def paint(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(H, W, 3) uint8: eight black or white blocks (two rows of four, lowest bit first) over a moving texture."""
    y, x = np.mgrid[:height, :width]
    image = np.stack(
        [(3 * x + 5 * number) % 256, (4 * y + 3 * number) % 256, (2 * (x + y) + 7 * number) % 256], -1
    )
    image = image.astype(np.uint8)
    for bit in range(BITS):
        row, column = divmod(bit, 4)
        top, left = row * height // 2, column * width // 4
        image[top + 4 : top + height // 2 - 4, left + 3 : left + width // 4 - 3] = 255 * (number >> bit & 1)
    return image


def read_number(image: np.ndarray) -> int:
    """The number painted into a frame of any size."""
    height, width = image.shape[:2]
    number = 0
    for bit in range(BITS):
        row, column = divmod(bit, 4)
        y, x = row * height // 2 + height // 4, column * width // 4 + width // 8
        number |= int(image[y - 2 : y + 3, x - 2 : x + 3].mean() > 127) << bit
    return number


@dataclass(frozen=True)
class Recipe:
    """How one file of the corpus is written."""

    name: str
    codec: str
    options: dict[str, str]
    count: int = COUNT
    size: tuple[int, int] = (WIDTH, HEIGHT)
    pixel_format: str = "yuv420p"
    variable: bool = False
    rotation: int = 0


X264 = {"crf": "12", "preset": "veryfast"}
RECIPES = (
    Recipe("mpeg4_plain.avi", "mpeg4", {"qscale": "2", "g": "12", "bf": "0"}),
    Recipe("mpeg4_long_gop.avi", "mpeg4", {"qscale": "2", "g": "300", "bf": "0"}),
    Recipe("mpeg4_bframes.avi", "mpeg4", {"qscale": "2", "g": "12", "bf": "2"}),
    Recipe("mpeg4_plain.mp4", "mpeg4", {"qscale": "2", "g": "12", "bf": "0"}),
    Recipe("h264.avi", "libx264", {**X264, "g": "12", "bf": "2"}),
    Recipe("h264.mp4", "libx264", {**X264, "g": "12", "bf": "2"}),
    Recipe("h264_open_gop.mp4", "libx264", {**X264, "g": "12", "bf": "2", "x264-params": "open-gop=1"}),
    Recipe("h264.mkv", "libx264", {**X264, "g": "60", "bf": "3"}),
    Recipe("h264.ts", "libx264", {**X264, "g": "12", "bf": "2"}),
    Recipe(
        "hevc.mp4", "libx265", {"crf": "12", "preset": "ultrafast", "x265-params": "log-level=none:keyint=12"}
    ),
    Recipe("vp8.webm", "libvpx", {"b": "2M", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}),
    Recipe("vp9.webm", "libvpx-vp9", {"b": "2M", "cpu-used": "8", "lag-in-frames": "16"}),
    Recipe("av1.mp4", "libsvtav1", {"crf": "20", "preset": "12"}),
    Recipe("mjpeg.avi", "mjpeg", {"qscale": "2"}, pixel_format="yuvj420p"),
    Recipe("variable.mp4", "libx264", {**X264, "g": "30", "bf": "2"}, variable=True),
    Recipe("rotated.mp4", "libx264", {**X264, "g": "12", "bf": "0"}, rotation=90),
    Recipe("one_frame.mp4", "libx264", X264, count=1),
    Recipe("one_frame.avi", "mpeg4", {"qscale": "2"}, count=1),
    Recipe("odd.mp4", "libx264", X264, size=(97, 65), pixel_format="yuv444p"),
    Recipe("odd.avi", "mpeg4", {"qscale": "2", "g": "12", "bf": "0"}, size=(97, 65)),
)


def write_video(path: Path, recipe: Recipe, options: dict[str, str] | None = None) -> bool:
    """Write one file; False where this FFmpeg has no such encoder."""
    try:
        av.codec.Codec(recipe.codec, "w")
    except ValueError:
        return False
    width, height = recipe.size
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(recipe.codec, rate=30, options=dict(recipe.options))
        stream.width, stream.height, stream.pix_fmt = width, height, recipe.pixel_format
        stream.codec_context.thread_count = 1
        stream.time_base = Fraction(1, 30)
        if "qscale" in recipe.options:
            stream.codec_context.flags |= 1 << 1  # AV_CODEC_FLAG_QSCALE
            stream.codec_context.qmin = stream.codec_context.qmax = 2
        time = 0
        for number in range(recipe.count):
            image = paint(number, width, height)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=recipe.pixel_format)
            frame.pts, frame.time_base = time, Fraction(1, 30)
            time += 1 + (number % 3 if recipe.variable else 0)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if recipe.rotation:
        rotate_track(path, recipe.rotation)
    return True


def rotate_track(path: Path, degrees: int) -> None:
    """Write a quarter turn (90, 180, 270 clockwise when shown) into the display matrix of an MP4's track."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4
    matrix = start + (40 if data[start] == 0 else 52)
    one = 1 << 16
    a, b, c, d = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[degrees]
    values = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in values)
    path.write_bytes(bytes(data))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """File name → path, of every recipe whose encoder this FFmpeg has."""
    folder = tmp_path_factory.mktemp("corpus")
    return {r.name: folder / r.name for r in RECIPES if write_video(folder / r.name, r)}
