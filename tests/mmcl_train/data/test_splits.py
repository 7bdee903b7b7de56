"""Which samples are held out for validation."""

from __future__ import annotations

import numpy as np
import pytest

from mmcl_cache.store import SampleTable, UserError
from mmcl_train.data.splits import split_samples


def make_table(subjects: np.ndarray, classes: int = 4, tests: int = 10) -> SampleTable:
    count = len(subjects) + tests
    codes = np.array([1] * len(subjects) + [2] * tests, dtype=np.uint8)
    every = np.concatenate([subjects, np.full(tests, 99)]).astype(np.int32)
    none = np.full(count, -1, dtype=np.int32)
    ids = np.array([f"s{n:05d}" for n in range(count)])
    return SampleTable(ids, np.arange(count, dtype=np.int32) % classes, every, none, none, {"xsub": codes})


def test_whole_subjects_are_held_out_near_the_share() -> None:
    subjects = np.repeat(np.arange(20), 13)
    split = split_samples(make_table(subjects), "xsub")
    held = {int(subjects[int(i[1:])]) for i in split.val}
    left = {int(subjects[int(i[1:])]) for i in split.train}
    assert not held & left and len(held) == 2 and len(split.val) == 26
    assert "subjects" in split.about


def test_one_of_four_subjects_is_held_out_where_a_tenth_is_not_possible() -> None:
    split = split_samples(make_table(np.repeat(np.arange(4), 8)), "xsub")
    assert len(split.val) == 8 and len(split.train) == 24


def test_the_same_samples_are_held_out_every_time_and_parts_do_not_overlap() -> None:
    table = make_table(np.arange(60) % 12)
    one, two = (split_samples(table, "xsub") for _ in range(2))
    assert one.val.tolist() == two.val.tolist()
    parts = [set(p.tolist()) for p in (one.train, one.val, one.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(table)


@pytest.mark.parametrize(
    ("subjects", "why"),
    [
        (np.full(40, -1), "not known"),
        (np.full(40, 7), "one subject"),
        (np.arange(40) % 4, "no training sample"),
    ],
)
def test_share_of_every_class_is_held_out_where_subjects_cannot_be(subjects: np.ndarray, why: str) -> None:
    split = split_samples(make_table(subjects), "xsub")  # in the last, each class is one subject's
    labels = np.array([int(i[1:]) % 4 for i in split.val])
    assert np.bincount(labels, minlength=4).tolist() == [1, 1, 1, 1]
    assert "same share of every class" in split.about and why in split.about


def test_smallest_split_still_holds_one_sample_out_and_keeps_one() -> None:
    split = split_samples(make_table(np.full(2, -1), classes=1), "xsub", "samples")
    assert len(split.val) == 1 and len(split.train) == 1


def test_nothing_is_held_out_when_not_asked() -> None:
    split = split_samples(make_table(np.arange(40) % 4), "xsub", "none")
    assert not len(split.val) and len(split.train) == 40


def test_empty_split_and_unknown_names_say_what_there_is() -> None:
    with pytest.raises(UserError, match="no test samples"):
        split_samples(make_table(np.arange(8), tests=0), "xsub")
    with pytest.raises(UserError, match="xsub"):
        split_samples(make_table(np.arange(8)), "xview")
    with pytest.raises(ValueError, match="known: subjects, samples, none"):
        split_samples(make_table(np.arange(8)), "xsub", "people")
