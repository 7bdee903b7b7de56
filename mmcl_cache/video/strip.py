"""A strip: K crops side by side in time order, and its JPEG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from mmcl_cache.errors import SampleError
from mmcl_cache.video.crop import Box

# Pillow's filters all average over the source pixels a target pixel covers, so shrinking does not alias. They
# give other bytes than swscale's of the same name: the name below, with "pillow", belongs to the fingerprint.
FILTERS: dict[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MAX_STRIP_PIXELS = 4096 * 4096


def make_strip(
    images: Sequence[np.ndarray],
    boxes: Sequence[Box] | None,
    tile: tuple[int, int] = (96, 480),
    filter: str = "bilinear",
) -> np.ndarray:
    """Crop, resize and join.

    Source: MMCL (arXiv:2407.15706), the strip I; the aspect ratio of a crop is ignored, as published.

    Args:
        images: K of (H, W, 3) uint8 sRGB, in time order.
        boxes: K boxes in pixels of the images, or None for whole frames.
        tile: (width, height) of one tile, pixels.
        filter: one of FILTERS (Pillow's).

    Returns:
        (tile height, K · tile width, 3) uint8 sRGB.

    Raises:
        ValueError: unknown filter, no image, counts that differ, or a tile without area.
    """
    if filter not in FILTERS:
        raise ValueError(f"unknown filter {filter!r}; known: {', '.join(FILTERS)}")
    if not images or (boxes is not None and len(boxes) != len(images)):
        raise ValueError(f"{len(images)} images and {'no' if boxes is None else len(boxes)} boxes")
    width, height = tile
    if width < 1 or height < 1:
        raise ValueError(f"a tile needs area, got {width}×{height}")
    strip = np.empty((height, width * len(images), 3), dtype=np.uint8)
    for k, image in enumerate(images):
        if boxes is not None:
            left, top, right, bottom = boxes[k]
            image = image[top:bottom, left:right]
        shown = Image.fromarray(np.ascontiguousarray(image)).resize((width, height), FILTERS[filter])
        strip[:, k * width : (k + 1) * width] = np.asarray(shown)
    return strip


def encode_jpeg(strip: np.ndarray, quality: int = 95) -> bytes:
    """JPEG bytes of (H, W, 3) uint8 sRGB; the same bytes every time (4:4:4 colour, no metadata).

    Raises:
        ValueError: quality outside [1, 100].
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"JPEG quality must be between 1 and 100, got {quality}")
    buffer = io.BytesIO()
    # Tiles are narrow: halving the colour resolution would bleed one person's clothes into the next tile.
    Image.fromarray(strip).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def decode_jpeg(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8 sRGB of JPEG bytes; raises as `open_jpeg` does."""
    return np.asarray(open_jpeg(data))


def open_jpeg(data: bytes) -> Image.Image:
    """The RGB image of JPEG bytes, decoded.

    Raises:
        SampleError: not a whole JPEG image, or larger than a strip can be.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if image.width * image.height > MAX_STRIP_PIXELS:
                raise SampleError(
                    f"strip of {image.width}×{image.height} pixels: larger than any strip made here"
                )
            image.load()
            return image if image.mode == "RGB" else image.convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise SampleError(
            f"strip: not a readable JPEG image ({error}); build the strip field again"
        ) from error
