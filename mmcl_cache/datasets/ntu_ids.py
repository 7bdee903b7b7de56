"""The ids of NTU RGB+D 60 and 120, and what follows from an id alone: label, split, who recorded it where.

An id is `SsssCcccPpppRrrrAaaa`: setup, camera, performer (the subject), replication, action; all count from 1.
Sources: NTU RGB+D (CVPR 2016) and NTU RGB+D 120 (TPAMI 2019); the lists of missing skeletons are the authors' own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmcl_cache.datasets.dataset import TEST, TRAIN

_FOLDER = Path(__file__).parent
_GRAMMAR = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", re.ASCII)
CAMERAS = (1, 2, 3)
REPLICATIONS = (1, 2)
LAST_ACTION = {60: 60, 120: 120}
LAST_SETUP = {60: 17, 120: 32}
TWO_PERSON_ACTIONS = (*range(50, 61), *range(106, 121))

SETUP_SUBJECTS: dict[int, str] = {
    1: "1 2 3 4 5 6 7 8",
    2: "3 7 8 9 10 11 12 13 14",
    3: "1 2 7 8 15 16 17 18 19",
    4: "3 7 8 20",
    5: "4 10 13 15 16 17 18 21",
    6: "1 7 8 15 16 17 19 22 23 24",
    7: "1 7 8 15 16 17 18 19 25 26 27 28",
    8: "1 7 8 15 19 25 29 30 31 32 33 34 35 36",
    9: "7 8 15 16 17 19 25",
    10: "7 8 13 15 16 17 18 19 21 25",
    11: "1 2 7 8 15 16 17 18 19 25 27 28 38",
    12: "7 8 15 16 17 18 19 25 27 28 37",
    13: "7 8 15 16 17 18 19 25 27 28 37",
    14: "7 8 15 17 19 25 27 37 39",
    15: "7 8 15 16 17 19 25 37",
    16: "7 8 19 21 25 39 40",
    17: "3 7 8 9 15 16 17 20",
    18: "8 41 42 43 44 45",
    19: "8 41 42 46 47 48 49 50 51",
    20: "8 41 43 44 52 53 54",
    21: "55 56 57 58 59 60",
    22: "61 62 63 64 65 66 67",
    23: "55 56 57 58 59 60 61 62 63 64 65 66 67 68",
    24: "57 60 61 62 63 64 67",
    25: "55 56 58 59 65 66 68",
    26: "8 41 44 49 50 51 69 70 71 72 74 75 76 77",
    27: "6 8 11 41 43 44 78 79 80 81 82 83 84 85 86",
    28: "8 41 42 43 46 48 70 73 87",
    29: "6 8 41 43 44 48 49 51 67 74 75 80 88 89 90",
    30: "8 11 41 43 44 48 67 75 76 81 85 88 91 92 93 94 95 96",
    31: "6 8 41 42 43 44 51 67 82 85 96 97 98 99 100 101",
    32: "8 41 43 44 67 102 103 104 105 106",
}
"""Setup → the subjects recorded in it; each did every action of its half twice before three cameras."""

_TRAIN_60 = "1 2 4 5 8 9 13 14 15 16 17 18 19 25 27 28 31 34 35 38"
_TRAIN_120 = (
    "45 46 47 49 50 52 53 54 55 56 57 58 59 70 74 78 80 81 82 83 84 85 86 89 91 92 93 94 95 97 98 100 103"
)
TRAIN_SUBJECTS = {
    60: frozenset(map(int, _TRAIN_60.split())),
    120: frozenset(map(int, f"{_TRAIN_60} {_TRAIN_120}".split())),
}
TRAIN_CAMERAS = frozenset({2, 3})
AVAILABLE = {60: 56_578, 120: 113_945}
"""How many ids have a skeleton."""
PROTOCOLS = {60: ("xsub", "xview"), 120: ("xsub", "xset")}


@dataclass(frozen=True)
class NtuId:
    """The numbers in an id, 1-based as in the id."""

    setup: int
    camera: int
    subject: int
    replication: int
    action: int

    def __str__(self) -> str:
        return f"S{self.setup:03}C{self.camera:03}P{self.subject:03}R{self.replication:03}A{self.action:03}"


def parse_id(text: str) -> NtuId | None:
    """The numbers of an id, or None where `text` is none."""
    match = _GRAMMAR.fullmatch(text)
    return NtuId(*map(int, match.groups())) if match else None


def split_of(ident: NtuId, protocol: str, size: int) -> str:
    """The split, "train" or "test", that a protocol gives an id.

    Args:
        protocol: one of `PROTOCOLS[size]`.
        size: 60 or 120; the cross-subject lists differ.

    Raises:
        ValueError: unknown protocol.
    """
    if protocol == "xsub":
        training = ident.subject in TRAIN_SUBJECTS[size]
    elif protocol == "xview":
        training = ident.camera in TRAIN_CAMERAS
    elif protocol == "xset":
        training = ident.setup % 2 == 0
    else:
        raise ValueError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS[size])}")
    return TRAIN if training else TEST


def is_recorded(ident: NtuId, size: int) -> bool:
    """Whether the authors recorded such a clip; those on the missing list were recorded, too."""
    return (
        ident.setup <= LAST_SETUP[size]
        and ident.subject in _subjects().get(ident.setup, ())
        and ident.action in _actions(ident.setup)
        and ident.camera in CAMERAS
        and ident.replication in REPLICATIONS
    )


def all_ids(size: int) -> list[str]:
    """Every id that was recorded, sorted: 56,880 of NTU RGB+D 60, 114,480 of NTU RGB+D 120."""
    # The numbers have fixed widths, so counting up in the order of the id's parts gives sorted text.
    return [
        f"S{setup:03}C{camera:03}P{subject:03}R{replication:03}A{action:03}"
        for setup, subjects in _subjects().items()
        if setup <= LAST_SETUP[size]
        for camera in CAMERAS
        for subject in sorted(subjects)
        for replication in REPLICATIONS
        for action in _actions(setup)
    ]


@cache
def _subjects() -> dict[int, frozenset[int]]:
    return {setup: frozenset(map(int, subjects.split())) for setup, subjects in SETUP_SUBJECTS.items()}


def _actions(setup: int) -> range:
    """The actions of the half that a setup belongs to."""
    return range(1, 61) if setup <= LAST_SETUP[60] else range(61, 121)


@cache
def missing_ids() -> frozenset[str]:
    """The 535 ids whose skeleton is missing or incomplete, as published; the 302 of NTU RGB+D 60 are among them."""
    return frozenset((_FOLDER / "ntu_missing.txt").read_text(encoding="ascii").split())


def available_ids(size: int) -> list[str]:
    """Every id with a skeleton, sorted: 56,578 of NTU RGB+D 60, 113,945 of NTU RGB+D 120."""
    return [sample_id for sample_id in all_ids(size) if sample_id not in missing_ids()]


def class_names(size: int) -> tuple[str, ...]:
    """60 or 120 names, by label."""
    return tuple((_FOLDER / "ntu_classes.txt").read_text(encoding="utf-8").splitlines()[: LAST_ACTION[size]])


def two_person_labels(size: int) -> tuple[int, ...]:
    """0-based labels of the classes that two people act."""
    return tuple(action - 1 for action in TWO_PERSON_ACTIONS if action <= LAST_ACTION[size])
