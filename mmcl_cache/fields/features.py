"""The fields `text` and `rgb`: what big models see in stored strips.

Both are computed from the stored JPEG bytes, never from the video, so that features made again from strips are the
same. A model always sees the same rows together: windows of the shard by row number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmcl_cache.encoders import Batches
from mmcl_cache.errors import SampleError
from mmcl_cache.store import Column, Columns, Ragged, Row, pack_column
from mmcl_cache.video.strip import open_jpeg

_JPEG = Column("jpeg", "uint8", (), True)
_REASON = Column("reason", "utf8", (), True)


OpenedStrip = Image.Image | Row
"""A strip's image, or the row that every model writes where there is none."""


def open_strips(strips: Columns) -> list[OpenedStrip]:
    """The images of rows of the field `strip`, with their `jpeg`, for one model after another."""
    return [_open_strip(strips, n) for n in range(len(strips))]


def make_feature_rows(batches: Batches, strips: Columns, opened: Sequence[OpenedStrip]) -> list[Row]:
    """One row a strip, in their order.

    Args:
        batches: the encoder.
        strips: rows of the field `strip`.
        opened: their images, as `open_strips` gives them.

    Raises:
        ModelError: the model cannot go on.
    """
    rows: list[Row] = []
    encoded = batches.encode([image if isinstance(image, Image.Image) else None for image in opened])
    for sample_id, image, values in zip(strips.sample_ids, opened, encoded, strict=True):
        if isinstance(image, Row):
            rows.append(image)
        elif isinstance(values, SampleError) or values is None:
            rows.append(Row(str(sample_id), "failed", str(values)))
        else:
            rows.append(_fitting(Row(str(sample_id), "ok", "", values), batches))
    return rows


def pack_strips(rows: Sequence[Row]) -> Columns:
    """Rows of strips as they are stored, before they are."""
    jpeg = pack_column(_JPEG, [row.values["jpeg"] if row.status == "ok" else None for row in rows])
    reasons = pack_column(_REASON, [row.reason for row in rows])
    assert isinstance(reasons, Ragged)
    return Columns(
        np.asarray([row.sample_id for row in rows], dtype=str),
        np.asarray([row.status for row in rows], dtype="U6"),
        reasons,
        {"jpeg": jpeg},
    )


def _open_strip(strips: Columns, n: int) -> OpenedStrip:
    """The image of row n, or the row to write where it has none."""
    sample_id = str(strips.sample_ids[n])
    if strips.status[n] != "ok":
        return Row(sample_id, "absent", f"strip {strips.status[n]}: {strips.reasons[n]}")
    try:
        return open_jpeg(strips["jpeg"][n].tobytes())
    except SampleError as error:
        return Row(sample_id, "failed", str(error))


def _fitting(row: Row, batches: Batches) -> Row:
    """The row itself, or a failed one where a value cannot be kept (too large for float16, say)."""
    try:
        for column in batches.encoder.columns:
            pack_column(column, [row.values[column.name]])
    except ValueError as error:
        return Row(row.sample_id, "failed", str(error))
    return row
