"""Strips as images for a CNN in the loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmcl_cache.store import Cache, Column, Row, UserError
from mmcl_train.data.clips import ClipSettings
from mmcl_train.data.resident import SplitSettings, load_split
from mmcl_train.data.strips import StripImages
from tests.mmcl_train.data.small_cache import NO_RGB, SAMPLES, make_cache, sample_ids, write_field


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return make_cache(tmp_path_factory.mktemp("strips") / "cache")


def test_images_are_the_same_kept_or_decoded_for_every_batch(cache: Cache) -> None:
    kept = StripImages(cache.field("strip"), sample_ids(), size=8)
    decoding = StripImages(cache.field("strip"), sample_ids(), size=8, room=0)
    rows = np.array([5, 0, NO_RGB[0], 5])
    assert kept.is_kept and not decoding.is_kept
    assert torch.equal(kept.take(rows), decoding.take(rows))
    images = kept.take(rows)
    assert images.shape == (4, 3, 8, 8) and images.dtype == torch.uint8
    assert (images[0].int() - 100).abs().max() <= 1 and not images[2].any()


def test_batch_carries_the_images_of_its_samples_and_says_which_are_there(cache: Cache) -> None:
    split = load_split(
        cache, sample_ids()[::-1], "cpu", SplitSettings(clip=ClipSettings(length=8), strip_variant="default")
    )
    batch = split.batch(np.arange(len(split)), torch.Generator().manual_seed(0), train=True)
    numbers = [int(sample_id[1:]) for sample_id in split.sample_ids]
    assert batch.rgb is None and batch.images is not None
    for row, n in enumerate(numbers):
        assert bool(batch.rgb_valid[row]) == (n not in NO_RGB)
        wanted = 0 if n in NO_RGB else 20 * n
        assert (batch.images[row].int() - wanted).abs().max() <= 1
    assert split.rgb_share == pytest.approx((SAMPLES - 1 - len(NO_RGB)) / (SAMPLES - 1))


def test_strip_that_is_no_image_names_the_sample(cache: Cache) -> None:
    rows = [Row(name, "ok", "", {"jpeg": np.arange(9, dtype=np.uint8)}) for name in sample_ids().tolist()]
    write_field(cache, "strip", [Column("jpeg", "uint8", ragged=True)], rows, variant="spoilt")
    with pytest.raises(UserError, match="sample s000: its strip cannot be decoded"):
        StripImages(cache.field("strip", "spoilt"), sample_ids(), size=8)


def test_no_strip_at_all_says_why(cache: Cache) -> None:
    with pytest.raises(UserError, match=r"none of 2 samples has a strip .no video"):
        StripImages(cache.field("strip"), sample_ids()[list(NO_RGB)])


def test_strips_and_the_rgb_field_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="makes its own feature"):
        SplitSettings(rgb_variant="default", strip_variant="default")
