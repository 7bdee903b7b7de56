"""Columns in memory: fixed-width arrays and ragged ones, joined on the sample id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_cache.errors import DamagedCacheError
from mmcl_cache.store.schema import MAX_ID_BYTES, Column, Row, Status


@dataclass(frozen=True)
class Ragged:
    """Rows of different length: row n is flat[offsets[n]:offsets[n + 1]].

    Args:
        flat: (Σ lengths, …).
        offsets: (N + 1,) int64, from 0, never falling.
        is_text: rows are UTF-8; indexing then gives str.
    """

    flat: np.ndarray
    offsets: np.ndarray
    is_text: bool = False

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def stored(self, index: int) -> np.ndarray:
        """Row n as it is stored: bytes where it is text."""
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    def __getitem__(self, index: int) -> Any:
        row = self.stored(index)
        # What was written is always UTF-8; what a stranger wrote may be anything.
        return row.tobytes().decode("utf-8", errors="replace") if self.is_text else row

    def __iter__(self) -> Iterator[Any]:
        return (self[n] for n in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Columns:
    """N rows of one field.

    Args:
        sample_ids: (N,) str.
        status: (N,) str of `STATUSES`.
        reasons: N texts.
        values: column name → (N, …) array or `Ragged`; zeros and empty rows where the status is not ok.
        sources: N texts on the files the rows were made from; None where that was not recorded, or not read.
    """

    sample_ids: np.ndarray
    status: np.ndarray
    reasons: Ragged
    values: Mapping[str, np.ndarray | Ragged]
    sources: Ragged | None = None

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def valid(self) -> np.ndarray:
        """(N,) bool."""
        return self.status == "ok"

    def rows(self) -> list[Row]:
        """The same as rows, to be written again beside new ones."""
        found: list[Row] = []
        for n, (sample_id, status) in enumerate(
            zip(self.sample_ids.tolist(), self.status.tolist(), strict=True)
        ):
            values = {name: column[n] for name, column in self.values.items()} if status == "ok" else {}
            source = self.sources[n] if self.sources is not None else ""
            found.append(Row(sample_id, status, self.reasons[n], values, source))
        return found


def pack_column(column: Column, values: Sequence[Any | None]) -> np.ndarray | Ragged:
    """N values (None where a row is not ok) as one column.

    Raises:
        ValueError: a value of another shape or kind, or one that is not finite as stored.
    """
    return _pack_ragged(column, values) if column.is_ragged else _pack_fixed(column, values)


def _pack_fixed(column: Column, values: Sequence[Any | None]) -> np.ndarray:
    packed = np.zeros((len(values), *column.shape), dtype=column.stored_dtype)
    for n, value in enumerate(values):
        if value is not None:
            array = _checked(column, np.asarray(value))
            if array.shape != column.shape:
                raise ValueError(
                    f"column {column.name}: a row of shape {array.shape}, {column.shape} expected"
                )
            packed[n] = array
    return packed


def _pack_ragged(column: Column, values: Sequence[Any | None]) -> Ragged:
    dtype, is_text = column.stored_dtype, column.dtype == "utf8"
    rows: list[np.ndarray] = []
    for value in values:
        if value is None:
            rows.append(np.zeros((0, *column.shape), dtype=dtype))
            continue
        # A path may hold bytes that are no text.
        text = str(value).encode(errors="backslashreplace") if is_text else b""
        row = np.frombuffer(text, dtype=np.uint8) if is_text else np.asarray(value)
        if row.shape[1:] != column.shape:
            raise ValueError(
                f"column {column.name}: elements of shape {row.shape[1:]}, {column.shape} expected"
            )
        rows.append(_checked(column, row))
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    flat = (
        np.concatenate(rows).astype(dtype, copy=False) if rows else np.zeros((0, *column.shape), dtype=dtype)
    )
    return Ragged(flat, offsets, is_text)


def _checked(column: Column, array: np.ndarray) -> np.ndarray:
    if not np.can_cast(array.dtype, column.stored_dtype, casting="same_kind"):
        raise ValueError(f"column {column.name}: {array.dtype} cannot be stored as {column.dtype}")
    converted = array.astype(column.stored_dtype, copy=False)
    if converted.dtype.kind == "f" and not np.isfinite(converted).all():
        raise ValueError(f"column {column.name}: NaN or infinity (or too large for {column.dtype})")
    return converted


def decode_texts(array: np.ndarray, path: Path, name: str) -> np.ndarray:
    """(N,) bytes of short texts, as ids and statuses are stored → (N,) str.

    Args:
        path, name: of the file and the array, for messages.

    Raises:
        DamagedCacheError: another type, texts longer than an id, or no UTF-8.
    """
    if array.dtype.kind != "S" or array.dtype.itemsize > MAX_ID_BYTES:
        raise DamagedCacheError(f"{path}: array {name!r} is {array.dtype}, text expected; rebuild this shard")
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError:
        raise DamagedCacheError(f"{path}: array {name!r} is no UTF-8; rebuild this shard") from None


def status_array(statuses: Sequence[Status]) -> np.ndarray:
    return np.asarray(statuses, dtype="S6")
