"""A split in memory: joined on the sample id, invalid rows out or masked, batches as cut one by one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmcl_cache.store import Cache, Column, MissingFieldError, Row, UserError
from mmcl_train.data.clips import ClipSettings
from mmcl_train.data.placement import choose_home
from mmcl_train.data.resident import ResidentSplit, SplitSettings, load_split
from mmcl_train.data.streams import STREAMS
from tests.mmcl_train.data.plain_clips import cut_clip, plain_stream
from tests.mmcl_train.data.small_cache import (
    BAD_SKELETON,
    NO_RGB,
    SAMPLES,
    make_cache,
    sample_ids,
    skeleton_of,
    write_field,
)

CLIP = ClipSettings(length=16)
WHOLE = SplitSettings(clip=CLIP, text_variant="default", text_feature="tokens", rgb_variant="default")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return make_cache(tmp_path_factory.mktemp("resident") / "cache")


@pytest.fixture(scope="module")
def split(cache: Cache) -> ResidentSplit:
    return load_split(cache, sample_ids(), "cpu", WHOLE)


def number(split: ResidentSplit, row: int) -> int:
    """Which sample a row is, by its id."""
    return int(split.sample_ids[row][1:])


def test_sample_without_usable_skeleton_is_left_out_with_its_reason(split: ResidentSplit) -> None:
    assert split.left_out == {f"s{BAD_SKELETON:03d}": "cut short"}
    assert len(split) == SAMPLES - 1 and f"s{BAD_SKELETON:03d}" not in split.sample_ids
    assert any("1 samples left out" in line and "cut short" in line for line in split.describe())


def test_fields_join_on_sample_id_whatever_the_order_asked(cache: Cache) -> None:
    shuffled = np.random.default_rng(0).permutation(sample_ids())
    split = load_split(cache, shuffled, "cpu", WHOLE)
    batch = split.batch(torch.arange(len(split)), None, train=False)
    for row in range(len(split)):
        n = number(split, row)
        assert batch.labels[row] == n % 3
        assert batch.joints[row].flatten()[0].floor() == n
        if batch.rgb_valid[row]:
            assert (batch.rgb[row] == n).all()
        if batch.text_valid[row]:
            assert batch.text[row, 1] == 2748 + n


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("stream", ["joint", "bone_motion"])
def test_batch_equals_samples_cut_one_by_one(cache: Cache, train: bool, stream: str) -> None:
    split = load_split(cache, sample_ids(), "cpu", SplitSettings(stream, CLIP))
    rows = torch.tensor([3, 0, 10, 3])
    batch = split.batch(rows, torch.Generator().manual_seed(9), train)
    draws = split._transform.draw(4, torch.Generator().manual_seed(9)).numpy()
    assert batch.joints.shape == (4, 3, 16, 25, 2)
    for at, row in enumerate(rows.tolist()):
        stored = skeleton_of(number(split, row))
        padded = np.zeros((len(stored), 2, 25, 3), np.float32)
        padded[:, : stored.shape[1]] = stored
        crop = (0.5, 1.0) if train else 0.95
        clip = cut_clip(padded, 16, crop, draws[at] if train else None, 0.3)
        layout = cache.description.layout
        plain = plain_stream(clip, layout, STREAMS[stream].hops, STREAMS[stream].motion)
        np.testing.assert_allclose(batch.joints[at].numpy(), plain, atol=2e-5)


def test_rows_without_rgb_or_text_are_masked_and_zero(split: ResidentSplit) -> None:
    batch = split.batch(torch.arange(len(split)), None, train=False)
    assert [number(split, row) for row in torch.nonzero(~batch.rgb_valid)[:, 0].tolist()] == list(NO_RGB)
    assert not batch.rgb[~batch.rgb_valid].any() and not batch.text[~batch.text_valid].any()
    assert split.rgb_share == pytest.approx(9 / 11) and split.text_share == pytest.approx(10 / 11)
    assert batch.rgb.dtype == batch.text.dtype == batch.joints.dtype == torch.float32


def test_split_without_rgb_and_text_gives_none_and_masks_of_false(cache: Cache) -> None:
    split = load_split(cache, sample_ids(), "cpu", SplitSettings(clip=CLIP))
    batch = split.batch(np.array([0, 1]), None, train=False)
    assert batch.rgb is None and batch.text is None
    assert not batch.rgb_valid.any() and not batch.text_valid.any()
    assert (split.rgb_width, split.text_width) == (0, 0)


@pytest.mark.parametrize(
    ("feature", "width"), [("tokens", 7), ("choices", 4), ("hidden", 8), ("hidden_last", 8)]
)
def test_text_features_are_sized_from_the_cache_with_questions_side_by_side(
    cache: Cache, feature: str, width: int
) -> None:
    split = load_split(cache, sample_ids(), "cpu", dataclasses.replace(WHOLE, text_feature=feature))
    assert split.text_width == width == split.batch(torch.tensor([0]), None, train=False).text.shape[1]


def test_tokens_are_raw_ids_of_the_shortest_width_that_holds_every_answer(split: ResidentSplit) -> None:
    text = split.batch(torch.tensor([0, 3]), None, train=False).text
    assert text[0].tolist() == [30522, 2748, 102, 30522, 500, 102, 0]
    assert text[1].tolist() == [30522, 2751, 102, 30522, 503, 600, 102]


def test_feature_that_the_cache_has_empty_names_the_feature(cache: Cache) -> None:
    with pytest.raises(MissingFieldError, match="'pooled'"):
        load_split(cache, sample_ids(), "cpu", dataclasses.replace(WHOLE, rgb_feature="pooled"))


def test_text_of_tokens_alone_says_so_where_hidden_states_are_asked(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache")
    columns = [Column("tokens", "int32", (1, 3)), Column("token_count", "int32", (1,))]
    answer = {"tokens": np.array([[1, 5, 2]], np.int32), "token_count": np.array([3], np.int32)}
    rows = [Row(sample_id, "ok", "", answer) for sample_id in sample_ids().tolist()]
    write_field(cache, "text", columns, rows, "imported")
    with pytest.raises(MissingFieldError, match=r"it has tokens: --set data\.text_feature=tokens"):
        load_split(cache, sample_ids(), "cpu", SplitSettings(clip=CLIP, text_variant="imported"))


def test_missing_variant_lists_what_is_there(cache: Cache) -> None:
    with pytest.raises(MissingFieldError, match="no text/llava"):
        load_split(cache, sample_ids(), "cpu", dataclasses.replace(WHOLE, text_variant="llava"))


def test_field_without_one_usable_row_is_an_error_with_its_reason(cache: Cache) -> None:
    with pytest.raises(UserError, match=r"none of the 2 .*no video"):
        load_split(cache, sample_ids()[list(NO_RGB)], "cpu", WHOLE)
    with pytest.raises(UserError, match=r"none of 1 samples has a usable skeleton .cut short"):
        load_split(cache, sample_ids()[[BAD_SKELETON]], "cpu", SplitSettings(clip=CLIP))


def test_counts_that_contradict_the_joints_name_the_sample(cache: Cache) -> None:
    columns = [
        Column("joints", "float32", (25, 3), ragged=True),
        Column("frames", "int32"),
        Column("bodies", "int32"),
    ]
    values = {"joints": np.zeros((6, 25, 3), np.float32), "frames": np.int32(4), "bodies": np.int32(2)}
    rows = [Row(name, "ok", "", values) for name in sample_ids().tolist()]
    write_field(cache, "skeleton", columns, rows, variant="contrary")
    with pytest.raises(UserError, match="sample s000: 6 skeletons stored for 4 frames of 2 bodies"):
        load_split(cache, sample_ids(), "cpu", SplitSettings(clip=CLIP, skeleton_variant="contrary"))


def test_one_load_serves_several_streams(split: ResidentSplit) -> None:
    other = split.view("bone", ClipSettings(length=8))
    rows = torch.tensor([2])
    assert other.batch(rows, None, train=False).joints.shape[2] == 8
    assert split.batch(rows, None, train=False).joints.shape[2] == 16
    assert other._data["flat"] is split._data["flat"]


def test_fewer_bodies_than_stored_keep_the_first(cache: Cache) -> None:
    both = load_split(cache, sample_ids(), "cpu", SplitSettings(clip=CLIP))
    first = load_split(cache, sample_ids(), "cpu", SplitSettings(clip=CLIP, num_bodies=1))
    rows = torch.arange(len(both))
    torch.testing.assert_close(
        first.batch(rows, None, train=False).joints, both.batch(rows, None, train=False).joints[..., :1]
    )


def test_assembling_a_batch_looks_at_no_value(split: ResidentSplit) -> None:
    rows = torch.tensor([1, 2, 3])
    draws = split._transform.draw(3, torch.Generator().manual_seed(0))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:  # .item() or nonzero would raise
        assert split.assemble(mode.from_tensor(rows), mode.from_tensor(draws)).joints.shape == (
            3,
            3,
            16,
            25,
            2,
        )


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("transform", ["crop-resize", "nw-ucla"])
@pytest.mark.parametrize("stream", STREAMS)
def test_bodies_that_a_batch_leaves_out_are_absent_throughout(
    cache: Cache, stream: str, transform: str, train: bool
) -> None:
    split = load_split(
        cache, sample_ids(), "cpu", SplitSettings(stream, dataclasses.replace(CLIP, transform=transform))
    )
    rows = torch.arange(len(split))
    batch = split.batch(rows, torch.Generator().manual_seed(9), train)
    single = sum(skeleton_of(number(split, row)).shape[1] == 1 for row in rows.tolist())
    assert batch.bodies is not None and len(batch.bodies.kept) == 2 * len(rows) - single + 1
    assert torch.equal(batch.bodies.counts, torch.bincount(batch.bodies.source).float())
    spread = batch.joints.permute(0, 4, 1, 2, 3).flatten(0, 1)
    assert torch.equal(spread[batch.bodies.kept][batch.bodies.source], spread)


def test_every_body_is_computed_where_all_are_there(cache: Cache) -> None:
    split = load_split(cache, sample_ids(), "cpu", SplitSettings(clip=CLIP))
    both = [row for row in range(len(split)) if skeleton_of(number(split, row)).shape[1] == 2]
    assert split.batch(torch.tensor(both), None, train=False).bodies is None
    single = load_split(cache, sample_ids(), "cpu", SplitSettings(clip=CLIP, num_bodies=1))
    assert single.batch(torch.arange(len(single)), None, train=False).bodies is None


def test_training_batch_wants_a_generator(split: ResidentSplit) -> None:
    with pytest.raises(ValueError, match="generator"):
        split.batch(torch.tensor([0]), None, train=True)


def test_data_stay_on_a_device_without_its_own_memory_limit() -> None:
    cpu = torch.device("cpu")
    assert choose_home(10**15, cpu, "auto") == cpu
    assert choose_home(1, torch.device("cuda"), "host") == cpu
    assert choose_home(10**15, torch.device("cuda"), "device") == torch.device("cuda")


def test_home_is_chosen_by_the_gpus_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    gpu = torch.device("cuda")
    assert choose_home(500, gpu, "auto") == gpu
    assert choose_home(501, gpu, "auto") == torch.device("cpu")
