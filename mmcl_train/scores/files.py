"""Score files: sample ids, logits and labels of one run on one split, joined on the sample id."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.store import UserError, npy
from mmcl_cache.store.json_text import parse_json

from .restricted import read_pickled_scores

LARGEST_ARRAY = 1 << 30  # bytes: a million samples of 120 classes have half
MANY = 3  # ids named in a message before "and so many more"


@dataclass(frozen=True)
class Scores:
    """Logits of a split's samples.

    `about` says where they come from: run, fingerprint, dataset, protocol, split, weights (last, best-val, …),
    backbone, stream, seed, co_learning, classes (names); any of these may be missing in files of others.
    """

    sample_ids: NDArray[np.str_]
    logits: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    about: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""

    @property
    def name(self) -> str:
        """What a table calls these scores."""
        return str(self.about.get("run") or Path(self.path).stem)


def write_scores(path: Path, scores: Scores) -> None:
    """Write one .npz atomically: temporary file, fsync, rename."""
    if scores.labels is None:
        raise ValueError("scores are written with their labels")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        np.savez(
            file,
            sample_ids=scores.sample_ids.astype(np.str_),
            logits=scores.logits.astype(np.float32),
            labels=scores.labels.astype(np.int64),
            about=np.array(json.dumps(dict(scores.about), sort_keys=True)),
        )
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_scores(path: Path, which: str = "test-last") -> Scores:
    """Read a score file: ours (.npz, or a run folder, whose scores/<which>.npz is taken), or the field's .pkl.

    Raises:
        UserError: not there, damaged, or something else than scores.
    """
    if path.is_dir():
        path = path / "scores" / f"{which}.npz"
    if not path.is_file():
        there = sorted(file.stem for file in path.parent.glob("*.npz")) if path.parent.is_dir() else []
        raise UserError(
            f"{path}: no such score file" + (f"; this run has {', '.join(there)}" if there else "")
        )
    if path.suffix == ".pkl":
        ids, logits = read_pickled_scores(path)
        scores = Scores(ids, logits, None, {}, str(path))
    else:
        scores = _read_npz(path)
    _check(scores)
    return scores


def join(files: Sequence[Scores]) -> list[Scores]:
    """Bring several scores into the order of the first's sample ids; labels are shared with files that have none.

    Raises:
        UserError: another set of samples, other labels, or other classes.
    """
    first = files[0]
    _check_classes(files)
    joined = []
    labels = next((align(scores, first).labels for scores in files if scores.labels is not None), None)
    for scores in files:
        aligned = align(scores, first)
        if aligned.logits.shape[1] != first.logits.shape[1]:
            raise UserError(
                f"{scores.path}: {aligned.logits.shape[1]} classes, but {first.path} has {first.logits.shape[1]}"
            )
        if aligned.labels is not None and labels is not None and (aligned.labels != labels).any():
            wrong = first.sample_ids[aligned.labels != labels]
            raise UserError(f"{scores.path}: other labels than {first.path} for {_some(wrong)}")
        joined.append(replace(aligned, labels=labels))
    return joined


def _check_classes(files: Sequence[Scores]) -> None:
    """Raise UserError where two files name their classes differently; a file may name none."""
    named = [
        (scores.path, scores.about["classes"])
        for scores in files
        if isinstance(scores.about.get("classes"), list)
    ]
    for path, classes in named[1:]:
        first, known = named[0]
        if classes != known and len(classes) == len(known):
            n = next(n for n, pair in enumerate(zip(classes, known, strict=True)) if pair[0] != pair[1])
            raise UserError(f"{path}: class {n} is {classes[n]!r}, but {known[n]!r} in {first}")


def align(scores: Scores, to: Scores) -> Scores:
    """`scores` in the order of the sample ids of `to`. Raises UserError where the sets of ids differ."""
    order = np.argsort(scores.sample_ids)
    found = np.searchsorted(scores.sample_ids, to.sample_ids, sorter=order)
    rows = order[np.minimum(found, len(order) - 1)]
    missing = to.sample_ids[scores.sample_ids[rows] != to.sample_ids]
    if len(missing):
        raise UserError(
            f"{scores.path}: no score of {_some(missing)}, which {to.path} has; ensembles join on sample id"
        )
    if len(scores.sample_ids) != len(to.sample_ids):
        extra = np.setdiff1d(scores.sample_ids, to.sample_ids)
        raise UserError(
            f"{to.path}: no score of {_some(extra)}, which {scores.path} has; ensembles join on sample id"
        )
    labels = None if scores.labels is None else scores.labels[rows]
    return replace(scores, sample_ids=to.sample_ids, logits=scores.logits[rows], labels=labels)


def _read_npz(path: Path) -> Scores:
    try:
        with npy.open_archive(path) as archive:
            arrays = {}
            for key in ("sample_ids", "logits", "labels", "about"):
                if f"{key}.npy" in archive.namelist() or key in ("sample_ids", "logits"):
                    with npy.open_member(archive, f"{key}.npy") as member:
                        arrays[key] = npy.read_array(member, LARGEST_ARRAY)
            _check_kinds(arrays)
            about = parse_json(str(arrays["about"]).encode()) if "about" in arrays else {}
            if not isinstance(about, dict):
                raise ValueError("about is no JSON object")
            return Scores(
                arrays["sample_ids"].astype(np.str_),
                arrays["logits"].astype(np.float32),
                arrays["labels"].astype(np.int64) if "labels" in arrays else None,
                about,
                str(path),
            )
    except (OSError, KeyError, *npy.ARCHIVE_DAMAGE) as error:
        raise UserError(f"{path}: not a score file (sample_ids, logits, labels): {error}") from None


def _check_kinds(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raises ValueError where an array is of another type than scores have."""
    kinds = {"sample_ids": "U", "logits": "f", "labels": "iu", "about": "U"}
    for key, array in arrays.items():
        if array.dtype.kind not in kinds[key]:
            raise ValueError(f"{key} is {array.dtype}")


def _check(scores: Scores) -> None:
    shapes = scores.sample_ids.ndim == 1 and scores.logits.ndim == 2
    if not shapes or len(scores.sample_ids) != len(scores.logits) or not scores.logits.size:
        raise UserError(
            f"{scores.path}: {scores.sample_ids.size} sample ids for logits of shape {scores.logits.shape}"
        )
    ids, counts = np.unique(scores.sample_ids, return_counts=True)
    if (counts > 1).any():
        raise UserError(f"{scores.path}: sample ids twice: {_some(ids[counts > 1])}")
    labels = scores.labels
    if labels is not None and (
        labels.shape != (len(scores.logits),) or labels.min() < 0 or labels.max() >= scores.logits.shape[1]
    ):
        raise UserError(f"{scores.path}: labels do not belong to logits of shape {scores.logits.shape}")


def _some(ids: NDArray[np.str_]) -> str:
    more = f" and {len(ids) - MANY} more" if len(ids) > MANY else ""
    return ", ".join(str(sample_id) for sample_id in ids[:MANY]) + more
