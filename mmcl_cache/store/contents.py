"""What an open shard holds: its columns whole, or some rows of them straight into their places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmcl_cache.errors import DamagedCacheError
from mmcl_cache.store.columns import Columns, Ragged
from mmcl_cache.store.hdf5 import ArrayFile
from mmcl_cache.store.schema import ID_COLUMN, REASON_COLUMN, SOURCE_COLUMN, STATUS_COLUMN, STATUSES, Column

OFFSETS = ".offsets"
# What every shard says of its rows, beside their values.
COUNTED = frozenset(
    {ID_COLUMN, STATUS_COLUMN}
    | {c.name + part for c in (REASON_COLUMN, SOURCE_COLUMN) for part in ("", OFFSETS)}
)


def read_columns(file: ArrayFile, columns: Sequence[Column], sample_ids: np.ndarray) -> Columns:
    """A whole shard.

    Args:
        sample_ids: (rows,) str that the shard plan puts here.

    Raises:
        DamagedCacheError: anything is not as its marker and its field say.
    """
    status = read_status(file, sample_ids)
    rows = len(sample_ids)
    reasons = read_reasons(file, rows)
    values = {
        c.name: _read_ragged(file, c, rows) if c.is_ragged else _read_fixed(file, c, rows) for c in columns
    }
    sources = _read_ragged(file, SOURCE_COLUMN, rows) if SOURCE_COLUMN.name in file else None
    return Columns(sample_ids, status.astype("U6"), reasons, values, sources)


def read_status(file: ArrayFile, sample_ids: np.ndarray) -> np.ndarray:
    """(rows,) bytes, names of `STATUSES`, once the shard was found to hold these samples.

    Raises:
        DamagedCacheError: it holds others, or a status that there is not.
    """
    stored = _read_text(file, ID_COLUMN, len(sample_ids))
    if (stored != sample_ids).any():
        raise DamagedCacheError(
            f"{file.path}: its sample ids are not those of the shard plan; rebuild this shard"
        )
    status = _read_text(file, STATUS_COLUMN, len(sample_ids))
    known = status == "ok"
    for name in STATUSES if not known.all() else ():
        known |= status == name
    if not known.all():
        raise DamagedCacheError(f"{file.path}: unknown status {str(status[~known][0])!r}; rebuild this shard")
    return status


def read_offsets(file: ArrayFile, column: Column, rows: int) -> np.ndarray:
    """(rows + 1,) int64 offsets of a ragged column, which fit what it holds.

    Raises:
        DamagedCacheError: they do not.
    """
    offsets = file.read(column.name + OFFSETS, np.dtype("int64"), (rows + 1,))
    length = file.length(column.name, column.stored_dtype, column.shape)
    if offsets[0] != 0 or offsets[-1] != length or (offsets[1:] < offsets[:-1]).any():
        raise DamagedCacheError(
            f"{file.path}: offsets of {column.name!r} do not fit its data; rebuild this shard"
        )
    return offsets


def read_reasons(file: ArrayFile, rows: int) -> Ragged:
    """Why rows are not ok, or a note.

    Raises:
        DamagedCacheError: not as a cache holds them.
    """
    return _read_ragged(file, REASON_COLUMN, rows)


def _read_fixed(file: ArrayFile, column: Column, rows: int) -> np.ndarray:
    return file.read(column.name, column.stored_dtype, (rows, *column.shape))


def _read_ragged(file: ArrayFile, column: Column, rows: int) -> Ragged:
    offsets = read_offsets(file, column, rows)
    flat = file.read(column.name, column.stored_dtype, (None, *column.shape))
    return Ragged(flat, offsets, column.dtype == "utf8")


def _read_text(file: ArrayFile, name: str, rows: int) -> np.ndarray:
    array = _read_bytes(file, name, rows)
    try:
        return array.astype(str)  # many times quicker than decoding, and only for ASCII
    except UnicodeDecodeError:
        pass
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError:
        raise DamagedCacheError(f"{file.path}: array {name!r} is no text; rebuild this shard") from None


def _read_bytes(file: ArrayFile, name: str, rows: int) -> np.ndarray:
    array = file.read(name, None, (rows,))
    if array.dtype.kind != "S":
        raise DamagedCacheError(
            f"{file.path}: array {name!r} is {array.dtype}, text expected; rebuild this shard"
        )
    return array
