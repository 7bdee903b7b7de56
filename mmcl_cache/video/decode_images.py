"""Frames that are not in a video file: folders of numbered images, and arrays read by a data set's own reader."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mmcl_cache.errors import SampleError
from mmcl_cache.store.regular import open_regular
from mmcl_cache.video.decode_pyav import check_indices
from mmcl_cache.video.decode_stream import MAX_FRAMES, MAX_PIXELS, describe_error

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"})
# Pillow tells a format by the content: others may start programs (PostScript) whatever the file is called.
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM")
# (T, H, W, 3) uint8 sRGB or (T, H, W) uint8 grey, and frames a second or None
Reader = Callable[[Path], tuple[np.ndarray, float | None]]


def list_images(folder: Path) -> list[Path]:
    """The frame images of a folder in numeric order (frame_2 before frame_10); other files are passed over.

    Every run of digits in a name counts as a number, and names are compared piece by piece. A folder that
    holds several kinds of image of each frame, as NW-UCLA's does (``_rgb`` beside ``_depth``), is read by
    its ``_rgb`` images.

    Raises:
        SampleError: no image in it, or more than MAX_FRAMES.
    """
    try:
        images = [
            p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")
        ]
    except OSError as error:
        raise SampleError(f"{folder}: cannot be listed ({describe_error(error)})") from error
    colour = [p for p in images if p.stem.lower().endswith("_rgb")]
    images = sorted(colour or images, key=lambda p: (_split_numbers(p.name), p.name))
    if not images:
        raise SampleError(f"{folder}: holds no frame images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    if len(images) > MAX_FRAMES:
        raise SampleError(f"{folder}: {len(images)} images; the limit is {MAX_FRAMES}")
    return images


def read_folder(
    folder: Path, choose: Callable[[int], np.ndarray]
) -> tuple[dict[int, np.ndarray], np.ndarray, int]:
    """The chosen images of a folder by index, the indices in the order chosen, and the number of images."""
    paths = list_images(folder)
    indices = check_indices(choose(len(paths)), len(paths))
    return {i: read_image(paths[i]) for i in np.unique(indices).tolist()}, indices, len(paths)


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 sRGB.

    Raises:
        SampleError: no image, cut short, or more than MAX_PIXELS.
    """
    try:
        with open_regular(path) as stream, Image.open(stream, formats=IMAGE_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SampleError(f"{path}: {image.width}×{image.height} pixels; the limit is {MAX_PIXELS}")
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise SampleError(f"{path}: not a readable image ({describe_error(error)})") from error


def read_array(
    path: Path, choose: Callable[[int], np.ndarray], reader: Reader
) -> tuple[dict[int, np.ndarray], np.ndarray, int, float | None]:
    """The chosen frames of an array source; grey is repeated into three channels.

    Raises:
        SampleError: the reader's, or its array is of another shape.
    """
    frames, fps = reader(path)
    if (
        frames.dtype != np.uint8
        or not (frames.ndim == 3 or (frames.ndim == 4 and frames.shape[3] == 3))
        or not frames.size
    ):
        raise SampleError(
            f"{path}: frames of shape {frames.shape} {frames.dtype}, expected (T, H, W[, 3]) uint8"
        )
    indices = check_indices(choose(len(frames)), len(frames))
    images = {}
    for i in np.unique(indices).tolist():
        frame = frames[i]
        images[i] = np.ascontiguousarray(np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame)
    return images, indices, len(frames), fps


def _split_numbers(name: str) -> list[tuple[int, int, str]]:
    return [
        (0, int(piece), "") if piece.isdigit() else (1, 0, piece)
        for piece in re.split(r"([0-9]+)", name)
        if piece
    ]
