"""Batches whose make-up depends on row numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmcl_cache.encoders import Batches, encode_in_batches
from mmcl_cache.errors import ModelError, SampleError
from mmcl_cache.store.schema import Column


class Recorder:
    """An encoder that notes its batches; it runs out of memory above a size, and fails on demand."""

    def __init__(self, memory: int = 1000, failure: Exception | None = None) -> None:
        self.settings: dict[str, Any] = {}
        self.info: dict[str, Any] = {}
        self.columns = (Column("logits", "float16", (1,)),)
        self.memory, self.failure = memory, failure
        self.batches: list[list[int]] = []

    def encode(self, images: Sequence[Image.Image]) -> list[dict[str, np.ndarray | str]]:
        self.batches.append([image.getpixel((0, 0))[0] for image in images])
        if self.failure is not None:
            raise self.failure
        if len(images) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return [{"logits": np.array([value], dtype=np.float16)} for value in self.batches[-1]]


def images_of(*values: int | None) -> list[Image.Image | None]:
    return [None if v is None else Image.new("RGB", (8, 8), (v, 0, 0)) for v in values]


def test_windows_follow_row_numbers_whatever_failed_before() -> None:
    whole, gaps = Recorder(), Recorder()
    encode_in_batches(whole, images_of(1, 2, 3, 4, 5), 2)
    rows = encode_in_batches(gaps, images_of(1, None, 3, 4, None), 2)
    assert whole.batches == [[1, 2], [3, 4], [5, 0]]
    assert gaps.batches == [[1, 0], [3, 4]]
    assert rows[1] is None and rows[4] is None
    assert [row["logits"][0] for row in (rows[0], rows[2], rows[3])] == [1, 3, 4]  # type: ignore[index]


def test_out_of_memory_halves_the_batch_for_good_and_goes_on() -> None:
    encoder = Recorder(memory=2)
    batches = Batches(encoder, 8)
    rows = batches.encode(images_of(*range(1, 6)))
    assert batches.batch_size == 2
    assert [row["logits"][0] for row in rows] == [1, 2, 3, 4, 5]  # type: ignore[index]
    encoder.batches.clear()
    batches.encode(images_of(1))
    assert encoder.batches == [[1, 0]]


def test_out_of_memory_with_one_image_is_one_line() -> None:
    with pytest.raises(ModelError, match="out of memory with a single image"):
        encode_in_batches(Recorder(memory=0), images_of(1, 2, 3), 4)


def test_a_model_that_fails_is_one_line() -> None:
    failure = RuntimeError("shapes cannot be multiplied\nat line 3")
    with pytest.raises(ModelError, match="shapes cannot be multiplied") as error:
        encode_in_batches(Recorder(failure=failure), images_of(1), 4)
    assert "\n" not in str(error.value)


def test_values_that_are_no_numbers_fail_their_row_alone() -> None:
    class Sick(Recorder):
        def encode(self, images: Sequence[Image.Image]) -> list[dict[str, np.ndarray | str]]:
            rows = super().encode(images)
            rows[1]["logits"] = np.array([np.nan], dtype=np.float16)
            return rows

    rows = encode_in_batches(Sick(), images_of(1, 2, 3), 3)
    assert isinstance(rows[1], SampleError) and "not finite" in str(rows[1])
    assert not isinstance(rows[0], SampleError) and not isinstance(rows[2], SampleError)


def test_a_row_without_any_answer_fails_alone() -> None:
    class Silent(Recorder):
        def encode(self, images: Sequence[Image.Image]) -> list[dict[str, np.ndarray | str]]:
            return [
                {"token_count": np.array([2, 2]), "answer": '["", ""]'},
                {"token_count": np.array([2, 3]), "answer": '["", "yes"]'},
            ]

    rows = encode_in_batches(Silent(), images_of(1, 2), 2)
    assert isinstance(rows[0], SampleError) and "answered nothing" in str(rows[0])
    assert not isinstance(rows[1], SampleError)


def test_a_batch_of_no_image_is_refused() -> None:
    with pytest.raises(ModelError, match="at least one"):
        Batches(Recorder(), 0)
