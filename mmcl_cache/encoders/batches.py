"""Running an encoder over the images of a shard in batches whose make-up depends on nothing but the row numbers."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from mmcl_cache.errors import ModelError, SampleError
from mmcl_cache.store.schema import Column

EncodedRow = dict[str, np.ndarray | str]


class Encoder(Protocol):
    """What turns images into the columns of a field."""

    settings: dict[str, Any]
    columns: tuple[Column, ...]
    info: dict[str, Any]

    def encode(self, images: Sequence[Image.Image]) -> list[EncodedRow]: ...


class Batches:
    """An encoder with its batch size, which halves for good when memory runs out.

    Rows are cut into windows [0, b), [b, 2b) … of the shard. A row without an image, and the rows that the last
    window lacks, are blank images, so every batch has b images: in half precision the answer to one image
    depends on the size of the batch, and so it would depend on which samples had failed before.

    Args:
        encoder: run on every window that holds an image.
        batch_size: b ≥ 1.

    Raises:
        ModelError: batch_size < 1.
    """

    def __init__(self, encoder: Encoder, batch_size: int) -> None:
        if batch_size < 1:
            raise ModelError(f"a batch needs at least one image, got {batch_size}")
        self.encoder = encoder
        self.batch_size = batch_size

    def encode(self, images: Sequence[Image.Image | None]) -> list[EncodedRow | SampleError | None]:
        """Encode the rows of one shard.

        Args:
            images: one a row, None where the row has none.

        Returns:
            one entry a row: its columns, a SampleError where the model gave nothing usable, None where no image was.

        Raises:
            ModelError: a single image does not fit into memory, or the model fails.
        """
        rows: list[EncodedRow | SampleError | None] = [None] * len(images)
        start = 0
        while start < len(images):
            stop = min(start + self.batch_size, len(images))
            window = images[start:stop]
            if any(image is not None for image in window):
                found = self._encode_window(window)
                if found is None:
                    self._halve()
                    continue
                for offset, row in enumerate(found[: stop - start]):
                    if window[offset] is not None:
                        rows[start + offset] = check_row(row)
            start = stop
        return rows

    def _encode_window(self, window: Sequence[Image.Image | None]) -> list[EncodedRow] | None:
        """The rows of one window, or None where memory ran out."""
        size = next(image.size for image in window if image is not None)
        blank = Image.new("RGB", size)
        full = [blank if image is None else image for image in window]
        full += [blank] * (self.batch_size - len(full))
        try:
            rows = self.encoder.encode(full)
        except torch.OutOfMemoryError:
            return None
        except RuntimeError as error:
            if "out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower():
                return None
            raise ModelError(
                f"the model fails on a batch of {len(full)} images: {_first_line(error)}"
            ) from error
        except MemoryError:
            return None
        if len(rows) != len(full):
            raise ModelError(f"the model gave {len(rows)} rows for {len(full)} images")
        return rows

    def _halve(self) -> None:
        # Only after the except block has ended are the tensors of the failed batch free.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.batch_size == 1:
            raise ModelError("out of memory with a single image; use a smaller model, image size or dtype")
        self.batch_size = self.batch_size // 2


def encode_in_batches(
    encoder: Encoder, images: Sequence[Image.Image | None], batch_size: int
) -> list[EncodedRow | SampleError | None]:
    """``Batches(encoder, batch_size).encode(images)`` for a caller that encodes once."""
    return Batches(encoder, batch_size).encode(images)


def check_row(row: Mapping[str, np.ndarray | str]) -> EncodedRow | SampleError:
    """The row itself, or what is wrong with it: values that are no numbers, or no answer at all."""
    for name, value in row.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
            return SampleError(f"the model gave values that are not finite numbers (column {name})")
    counts = row.get("token_count")
    # Begin and end alone are an answer of no words.
    if (
        isinstance(counts, np.ndarray)
        and counts.size
        and bool((counts <= 2).all())
        and _is_blank(row.get("answer"))
    ):
        return SampleError("the model answered nothing to any question")
    return dict(row)


def _is_blank(answer: np.ndarray | str | None) -> bool:
    return isinstance(answer, str) and not answer.strip('[]", ')


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[
        :200
    ]
