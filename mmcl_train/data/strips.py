"""Strips as images for a CNN that is trained in the loop: the published way, slow, kept for the ablation."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmcl_cache.store import Field, Ragged, UserError

IMAGE_SIZE = 299  # Inception-v3's own; the canvas is square, so the whole strip is seen
MAX_PIXELS = 4096 * 4096  # of a strip as stored
HOST_LIMIT = 8 << 30  # bytes of decoded images kept in host memory at most


class StripImages:
    """The strips of some samples, decoded and resized, (3, S, S) uint8 each.

    Resized with Pillow's bilinear filter, as the released feeder does. They are decoded once and kept where
    that fits (in `room` bytes), otherwise for every batch.

    Args:
        field: a `strip` variant of the cache.
        sample_ids: (N,) str, in the split's order.
        size: S, pixels.
        room: bytes that decoded images may take.

    Raises:
        UserError: no strip at all is usable, or one cannot be decoded.
    """

    def __init__(
        self, field: Field, sample_ids: np.ndarray, size: int = IMAGE_SIZE, room: int = HOST_LIMIT
    ) -> None:
        columns = field.load(sample_ids, ("jpeg",))
        if not columns.valid.any():
            why = columns.reasons[0] if len(columns) else "no samples"
            raise UserError(
                f"{field.name}: none of {len(columns)} samples has a strip ({why or 'no reason kept'})"
            )
        self.size = size
        self.valid: np.ndarray = columns.valid
        self._ids = columns.sample_ids
        self._jpeg: Ragged = columns["jpeg"]
        self.num_bytes = len(columns) * 3 * size * size
        self._decoded: Tensor | None = None
        if self.num_bytes <= room:
            self._decoded = self._decode(np.arange(len(columns)))

    @property
    def is_kept(self) -> bool:
        """Decoded once; otherwise for every batch."""
        return self._decoded is not None

    def take(self, rows: np.ndarray) -> Tensor:
        """(B,) int64 → (B, 3, S, S) uint8 in host memory; zeros where a sample has no strip."""
        if self._decoded is not None:
            return self._decoded.index_select(0, torch.from_numpy(rows))
        return self._decode(rows)

    def _decode(self, rows: np.ndarray) -> Tensor:
        images = np.zeros((len(rows), self.size, self.size, 3), np.uint8)
        for at, row in enumerate(rows.tolist()):
            if self.valid[row]:
                images[at] = decode_image(self._jpeg[row], self.size, str(self._ids[row]))
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def decode_image(jpeg: np.ndarray, size: int, sample_id: str) -> np.ndarray:
    """JPEG bytes, (n,) uint8 → (size, size, 3) uint8 sRGB.

    Raises:
        UserError: not an image that can be decoded, naming the sample.
    """
    try:
        with Image.open(io.BytesIO(jpeg.tobytes()), formats=("JPEG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}×{image.height} pixels")
            return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"sample {sample_id}: its strip cannot be decoded ({error}); rebuild the strip field"
        ) from None
