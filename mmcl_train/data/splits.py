"""Which samples train, which validate, which test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmcl_cache.store import SampleTable, UserError

HOLDOUT_SEED = (
    20240721  # of the order in which subjects are held out; fixed, so that every run holds out the same
)
HOLDOUTS = ("subjects", "samples", "none")


@dataclass(frozen=True)
class Split:
    """Sample ids of a protocol, sorted, disjoint.

    Args:
        train, val, test: (n,) str; `val` is taken out of the protocol's training samples and may be empty.
        about: what was held out and how, in words, for the log.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    about: str


def split_samples(samples: SampleTable, protocol: str, val: str = "subjects", share: float = 0.1) -> Split:
    """The samples of a protocol, with a validation part held out of the training samples.

    `subjects` holds out whole subjects, as a test by subject does: in a fixed random order, as many as come
    nearest to `share` of the samples, at least one and never all. Where subjects are unknown, where there
    is only one, or where a class would have no training sample left, a share of every class is held out
    instead, and `about` says so. The choice is made from the plan, not from what is valid, so that a sample
    built later moves no other.

    Args:
        samples: of the cache.
        protocol: one of its splits.
        val: a name of `HOLDOUTS`.
        share: of the training samples, in (0, 1).

    Raises:
        UserError: unknown protocol, or one without training or test samples.
        ValueError: unknown `val`.
    """
    if val not in HOLDOUTS:
        raise ValueError(f"unknown val {val!r}; known: {', '.join(HOLDOUTS)}")
    train, test = samples.select(protocol, "train"), samples.select(protocol, "test")
    for name, part in (("train", train), ("test", test)):
        if not len(part):
            raise UserError(
                f"protocol {protocol!r} has no {name} samples in this cache; choose another --protocol"
            )
    at = samples.positions(train)
    labels, subjects = samples.labels[at], samples.subjects[at]
    if val == "none":
        return Split(train, train[:0], test, "val: none held out")
    held, about = np.zeros(len(train), dtype=bool), ""
    if val == "subjects":
        held, about = hold_out_subjects(subjects, labels, share)
    if not held.any():
        held = hold_out_samples(labels, share)
        why = f" ({about})" if about else ""
        about = f"{held.sum()} of {len(train)} training samples held out, the same share of every class{why}"
    return Split(train[~held], train[held], test, f"val: {about}")


def hold_out_subjects(subjects: np.ndarray, labels: np.ndarray, share: float) -> tuple[np.ndarray, str]:
    """(n,) bool, true where the sample's subject is held out (none where that cannot be done), and why."""
    nobody = np.zeros(len(subjects), dtype=bool)
    if (subjects < 0).any():
        return nobody, "subjects are not known for every training sample"
    people, counts = np.unique(subjects, return_counts=True)
    if len(people) < 2:
        return nobody, "all training samples are of one subject"
    order = np.random.default_rng(HOLDOUT_SEED).permutation(len(people))
    reached = np.cumsum(counts[order])[:-1]
    count = int(np.abs(reached - share * len(subjects)).argmin()) + 1
    chosen = people[order[:count]]
    held = np.isin(subjects, chosen)
    if len(np.unique(labels[~held])) < len(np.unique(labels)):
        return nobody, "without the held-out subjects a class would have no training sample"
    names = ", ".join(str(person) for person in np.sort(chosen))
    return held, f"{held.sum()} of {len(subjects)} training samples held out, subjects {names}"


def hold_out_samples(labels: np.ndarray, share: float) -> np.ndarray:
    """(n,) bool: of every class the share nearest to `share`, evenly spaced in id order; a class keeps at least one.

    At least one sample is held out where any class has two.
    """
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = min(round(share * len(rows)), len(rows) - 1)
        held[rows[np.linspace(0, len(rows) - 1, count + 2).astype(int)[1:-1]]] = True
    if not held.any():
        values, counts = np.unique(labels, return_counts=True)
        if counts.max() > 1:
            held[np.flatnonzero(labels == values[counts.argmax()])[-1]] = True
    return held
