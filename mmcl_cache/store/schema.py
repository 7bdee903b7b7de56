"""What a cache is made of: columns, rows, the description of a data set and the table of its samples."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mmcl_cache.errors import CacheError
from mmcl_cache.store.layout import Layout

FORMAT_VERSION = 1

Status = Literal["ok", "absent", "failed"]
# ok: the values are there; the reason may carry a note.  absent: the source has nothing to make this row from.
# failed: there was something, and it could not be used; worth another try once its file is mended.
STATUSES: tuple[Status, ...] = ("ok", "absent", "failed")

SPLITS = ("", "train", "test")  # code → name, as stored in the split columns
MAX_ID_BYTES = 200
MAX_BODIES, MAX_CHANNELS = 100, 64
_WIDTHS = {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (16, 32, 64)}
DTYPES = frozenset(
    {"bool", "utf8", *(f"{kind}{bits}" for kind, all_bits in _WIDTHS.items() for bits in all_bits)}
)


@dataclass(frozen=True)
class Column:
    """One column of a field.

    Args:
        name: lower case, unique in its field.
        dtype: a numpy name, or "utf8" for a text of any length.
        shape: of one row; of one element where the column is ragged.
        ragged: rows of different length, stored as one flat array and (N + 1) offsets.
        unit: "m", "px", "nats" …; empty where there is none.
        doc: one line for people who read the file with h5py alone.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    ragged: bool = False
    unit: str = ""
    doc: str = ""

    @property
    def is_ragged(self) -> bool:
        return self.ragged or self.dtype == "utf8"

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        return np.dtype("uint8" if self.dtype == "utf8" else self.dtype)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "ragged": self.ragged,
            "unit": self.unit,
            "doc": self.doc,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Column:
        """Raises KeyError or TypeError for what `to_json` did not write."""
        texts = [value[key] for key in ("name", "dtype", "unit", "doc")]
        if not all(isinstance(text, str) for text in texts) or type(value["ragged"]) is not bool:
            raise TypeError("a column's name, dtype, unit and doc are text, ragged is true or false")
        if value["dtype"] not in DTYPES:
            raise TypeError(f"column {value['name'][:60]!r} is of a type that no cache has")
        if not _are_numbers(value["shape"], 0, 1 << 31):
            raise TypeError(f"column {value['name'][:60]!r} has a shape that is none")
        return cls(
            value["name"], value["dtype"], tuple(value["shape"]), value["ragged"], value["unit"], value["doc"]
        )


# Every shard has these beside its own.
ID_COLUMN = "sample_id"
STATUS_COLUMN = "status"
REASON_COLUMN = Column("reason", "utf8", doc="why a row is absent or failed; a note where it is ok")
# Only shards whose rows were made from files have it; it is no part of a field's columns, and so of no fingerprint.
SOURCE_COLUMN = Column("source", "utf8", doc="JSON: size and digest of the files a row was made from")


@dataclass(frozen=True)
class Row:
    """One row on its way into a shard. `values` has every column of the field where status is ok, else nothing.

    `source` says by which files it was made, where it was made from files; see `SOURCE_COLUMN`.
    """

    sample_id: str
    status: Status
    reason: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class Description:
    """What stage 2 must know of a data set. It travels with the cache.

    Args:
        dataset: its name.
        classes: names, in label order.
        layout: of the joints.
        num_bodies: bodies a clip can hold.
        protocols: names of the splits that the sample table has.
        channels: values a joint has: 3 for x y z or x y score, 2 for x y.
        clip: the data set's own clip transform: {"transform": name, "length": frames, …}.
        two_person: labels of the classes that two people act.
    """

    dataset: str
    classes: tuple[str, ...]
    layout: Layout
    num_bodies: int
    protocols: tuple[str, ...]
    channels: int = 3
    clip: Mapping[str, Any] = field(default_factory=lambda: {"transform": "crop-resize", "length": 64})
    two_person: tuple[int, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def to_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "classes": list(self.classes),
            "layout": self.layout.to_json(),
            "num_bodies": self.num_bodies,
            "protocols": list(self.protocols),
            "channels": self.channels,
            "clip": dict(self.clip),
            "two_person": list(self.two_person),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Description:
        """Raises KeyError, TypeError or CacheError for what `to_json` did not write."""
        if not isinstance(value["dataset"], str) or not isinstance(value["clip"], dict):
            raise TypeError("the data set's name is text, its clip an object")
        for key in ("classes", "protocols"):
            if not isinstance(value[key], list) or not all(isinstance(text, str) for text in value[key]):
                raise TypeError(f"{key} must be a list of texts")
        numbers = [[value["num_bodies"]], [value["channels"]], value["two_person"]]
        for found, low, high in zip(
            numbers, (1, 1, 0), (MAX_BODIES + 1, MAX_CHANNELS + 1, len(value["classes"])), strict=True
        ):
            if not _are_numbers(found, low, high):
                raise TypeError("num_bodies, channels or two_person is out of range")
        return cls(
            dataset=value["dataset"],
            classes=tuple(value["classes"]),
            layout=Layout.from_json(value["layout"]),
            num_bodies=value["num_bodies"],
            protocols=tuple(value["protocols"]),
            channels=value["channels"],
            clip=dict(value["clip"]),
            two_person=tuple(value["two_person"]),
        )


@dataclass(frozen=True)
class SampleTable:
    """Every planned sample, sorted by id. All arrays have N rows.

    Args:
        sample_ids: str.
        labels: int32, 0-based.
        subjects, cameras, setups: int32, −1 where unknown.
        splits: protocol → uint8 codes of `SPLITS`: 0 in neither, 1 train, 2 test.

    Raises:
        CacheError: ids are not sorted, not unique or not usable; columns differ in length.
    """

    sample_ids: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    cameras: np.ndarray
    setups: np.ndarray
    splits: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        check_sample_ids(self.sample_ids.tolist())
        columns = {
            "labels": self.labels,
            "subjects": self.subjects,
            "cameras": self.cameras,
            "setups": self.setups,
        }
        for name, column in {**columns, **self.splits}.items():
            if column.shape != self.sample_ids.shape:
                raise CacheError(f"sample table: {len(self.sample_ids)} ids but {len(column)} {name}")

    def __len__(self) -> int:
        return len(self.sample_ids)

    def select(self, protocol: str, split: str) -> np.ndarray:
        """The sorted ids of one split of a protocol.

        Raises:
            CacheError: unknown protocol or split.
        """
        if protocol not in self.splits:
            known = ", ".join(sorted(self.splits)) or "none"
            raise CacheError(f"the cache has no protocol {protocol!r}; it has: {known}")
        if split not in SPLITS[1:]:
            raise CacheError(f"no split {split!r}; a protocol has: train, test")
        return self.sample_ids[self.splits[protocol] == SPLITS.index(split)]

    def positions(self, sample_ids: Iterable[str]) -> np.ndarray:
        """(n,) int64: the row of each id.

        Raises:
            CacheError: an id is not in the table.
        """
        wanted = np.asarray(list(sample_ids), dtype=str)
        if not len(wanted):
            return np.zeros(0, dtype=np.int64)
        found = np.searchsorted(self.sample_ids, wanted)
        missing = (found == len(self)) | (self.sample_ids[np.minimum(found, len(self) - 1)] != wanted)
        if missing.any():
            raise CacheError(f"the cache has no sample {str(wanted[missing][0])!r}")
        return found.astype(np.int64)


def check_sample_ids(sample_ids: list[str]) -> None:
    """Refuse ids that could not be a key: unsorted, twice, empty, too long, or with separators or control characters.

    Raises:
        CacheError: naming the first bad id.
    """
    previous = ""
    for sample_id in sample_ids:
        if not sample_id or len(sample_id.encode(errors="surrogatepass")) > MAX_ID_BYTES:
            raise CacheError(f"sample id {sample_id[:60]!r}: must have 1 to {MAX_ID_BYTES} bytes")
        if not sample_id.isascii() or not sample_id.isprintable():
            bad = [c for c in sample_id if unicodedata.category(c)[0] in "CZ" and c != " "]
            if bad:
                raise CacheError(f"sample id {sample_id!r}: control character {bad[0]!r}")
        if "/" in sample_id or "\\" in sample_id or sample_id in (".", ".."):
            raise CacheError(f"sample id {sample_id!r}: must not contain a path separator")
        if sample_id == previous:
            raise CacheError(f"sample id {sample_id!r} is there twice")
        if sample_id < previous:
            raise CacheError(f"sample ids are not sorted: {sample_id!r} after {previous!r}")
        previous = sample_id


def _are_numbers(value: Any, low: int, high: int) -> bool:
    """Whether it is a list of whole numbers in [low, high)."""
    return isinstance(value, list) and all(type(number) is int and low <= number < high for number in value)


def ids_digest(sample_ids: Iterable[str]) -> str:
    """sha256 of the ordered ids, one a line."""
    return hashlib.sha256("\n".join(sample_ids).encode()).hexdigest()
