from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mmcl_cache.datasets import ntu_ids


@pytest.mark.parametrize(("size", "recorded", "available"), [(60, 56_880, 56_578), (120, 114_480, 113_945)])
def test_every_recorded_id_and_every_available_one(size: int, recorded: int, available: int):
    ids = ntu_ids.all_ids(size)
    assert len(ids) == len(set(ids)) == recorded and ids == sorted(ids)
    assert len(ntu_ids.available_ids(size)) == ntu_ids.AVAILABLE[size] == available


def test_rule_and_list_agree_on_what_was_recorded():
    ids = set(ntu_ids.all_ids(60))
    grid = (
        f"S{s:03}C{c:03}P{p:03}R{r:03}A{a:03}"
        for s in (1, 4, 17, 18)
        for c in range(5)
        for p in range(0, 45, 3)
        for r in range(4)
        for a in (0, 1, 60, 61)
    )
    assert all((name in ids) == ntu_ids.is_recorded(ntu_ids.parse_id(name), 60) for name in grid)


@pytest.mark.parametrize(
    ("size", "protocol", "train", "test"),
    [
        (60, "xsub", 40_091, 16_487),
        (60, "xview", 37_646, 18_932),
        (120, "xsub", 63_026, 50_919),
        (120, "xset", 54_468, 59_477),
    ],
)
def test_protocols_have_exactly_the_published_counts(size: int, protocol: str, train: int, test: int):
    counts = Counter(
        ntu_ids.split_of(ntu_ids.parse_id(i), protocol, size) for i in ntu_ids.available_ids(size)
    )
    assert counts == {"train": train, "test": test}


def test_missing_list_has_302_ids_of_the_first_half():
    missing = ntu_ids.missing_ids()
    assert len(missing) == 535 and missing <= set(ntu_ids.all_ids(120))
    assert len(missing & set(ntu_ids.all_ids(60))) == 302


def test_facts_are_those_of_the_shared_lists(shared: Path):
    lines = (shared / "data/ntu/setup_subjects.txt").read_text().splitlines()
    published = {int(line[1:4]): line[6:].strip() for line in lines if line.startswith("S")}
    assert published == ntu_ids.SETUP_SUBJECTS
    for size in (60, 120):
        listed = (shared / f"data/ntu/missing_skeletons_{size}.txt").read_text().split()
        assert set(listed) == ntu_ids.missing_ids() & set(ntu_ids.all_ids(size))
    assert ntu_ids.class_names(120) == tuple((shared / "data/ntu/classes.txt").read_text().splitlines())


def test_class_names_and_two_person_classes():
    assert len(ntu_ids.class_names(60)) == 60 and len(set(ntu_ids.class_names(120))) == 120
    assert ntu_ids.class_names(60)[0] == "drink water"
    assert ntu_ids.two_person_labels(60) == tuple(range(49, 60))
    assert len(ntu_ids.two_person_labels(120)) == 26


def test_id_is_taken_apart_and_put_together():
    numbers = ntu_ids.parse_id("S017C003P020R002A054")
    assert (numbers.setup, numbers.camera, numbers.subject, numbers.replication, numbers.action) == (
        17,
        3,
        20,
        2,
        54,
    )
    assert str(numbers) == "S017C003P020R002A054"


@pytest.mark.parametrize(
    "text",
    ["", "S001C001P001R001A01", "S001C001P001R001A001x", "s001c001p001r001a001", "S٠٠١C001P001R001A001"],
)
def test_text_outside_the_grammar_is_no_id(text: str):
    assert ntu_ids.parse_id(text) is None


def test_unknown_protocol_lists_the_known_ones():
    with pytest.raises(ValueError, match="known: xsub, xview"):
        ntu_ids.split_of(ntu_ids.parse_id("S001C001P001R001A001"), "xsetup", 60)
