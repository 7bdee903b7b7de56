"""One shard of one field variant: an HDF5 file of columns, and the marker that says it is complete.

00007.h5    sample_id, status, reason, and the field's columns; every file can be read on its own
00007.json  the marker, written last: rows, bytes, sha256, fingerprint, how many rows of each status
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_cache.errors import DamagedCacheError
from mmcl_cache.store.columns import Columns, Ragged, pack_column, status_array
from mmcl_cache.store.files import file_sha256, read_json, write_json, written_in_place
from mmcl_cache.store.hdf5 import ArrayFile, open_arrays, write_arrays
from mmcl_cache.store.schema import (
    FORMAT_VERSION,
    ID_COLUMN,
    REASON_COLUMN,
    STATUS_COLUMN,
    STATUSES,
    Column,
    Row,
    ids_digest,
)

OFFSETS = ".offsets"


@dataclass(frozen=True)
class Marker:
    """What is known of a complete shard without opening it."""

    fingerprint: str
    rows: int
    bytes: int
    sha256: str
    ids: str  # digest of the ordered sample ids
    statuses: dict[str, int]
    format_version: int = FORMAT_VERSION


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.h5"


def marker_path(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.json"


def write_shard(
    folder: Path, index: int, fingerprint: str, columns: Sequence[Column], rows: Sequence[Row]
) -> Marker:
    """Write a shard and then its marker; until the marker is there, the shard does not exist for any reader.

    Raises:
        ValueError: a row does not fit the columns.
        OSError: the disk refused; nothing of this shard is left.
    """
    for row in rows:
        if row.status not in STATUSES:
            raise ValueError(f"sample {row.sample_id}: no status {row.status!r}")
        if row.status == "ok" and set(row.values) != {c.name for c in columns}:
            raise ValueError(f"sample {row.sample_id}: values {sorted(row.values)} do not fit the columns")
    sample_ids = [row.sample_id for row in rows]
    arrays: dict[str, np.ndarray] = {
        ID_COLUMN: np.asarray([i.encode() for i in sample_ids], dtype="S"),
        STATUS_COLUMN: status_array([row.status for row in rows]),
    }
    values: dict[Column, list[Any | None]] = {REASON_COLUMN: [row.reason for row in rows]}
    values |= {c: [row.values[c.name] if row.status == "ok" else None for row in rows] for c in columns}
    for column, cells in values.items():
        packed = pack_column(column, cells)
        if isinstance(packed, Ragged):
            arrays[column.name] = packed.flat
            arrays[column.name + OFFSETS] = packed.offsets
        else:
            arrays[column.name] = packed
    path = shard_path(folder, index)
    with written_in_place(path) as temporary:
        write_arrays(
            temporary, arrays, {"format_version": FORMAT_VERSION, "fingerprint": fingerprint, "shard": index}
        )
        sha256, size = file_sha256(temporary), temporary.stat().st_size
    statuses = Counter(row.status for row in rows)
    marker = Marker(
        fingerprint,
        len(rows),
        size,
        sha256,
        ids_digest(sample_ids),
        {s: statuses.get(s, 0) for s in STATUSES},
    )
    write_json(marker_path(folder, index), asdict(marker))
    return marker


def read_marker(folder: Path, index: int) -> Marker | None:
    """The marker, or None where the shard is not complete.

    Raises:
        DamagedCacheError: a marker that is not one.
    """
    path = marker_path(folder, index)
    try:
        value = read_json(path)
    except FileNotFoundError:
        return None
    kinds = {"fingerprint": str, "rows": int, "bytes": int, "sha256": str, "ids": str, "statuses": dict}
    for key, kind in kinds.items():
        if type(value.get(key)) is not kind:
            raise DamagedCacheError(
                f"{path}: no usable {key!r}; remove this file and its shard, and build again"
            )
    if value.get("format_version") != FORMAT_VERSION:
        raise DamagedCacheError(
            f"{path}: format {value.get('format_version')}, this version reads {FORMAT_VERSION}"
        )
    if {k: type(v) for k, v in value["statuses"].items()} != dict.fromkeys(STATUSES, int):
        raise DamagedCacheError(
            f"{path}: no usable 'statuses'; remove this file and its shard, and build again"
        )
    if set(value) != {*kinds, "format_version"}:
        raise DamagedCacheError(f"{path}: unknown keys; remove this file and its shard, and build again")
    return Marker(**value)


def check_size(folder: Path, index: int, marker: Marker) -> None:
    """Raises:
    DamagedCacheError: the shard's file is gone or of another size than its marker says.
    """
    path = shard_path(folder, index)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise DamagedCacheError(
            f"{path}: gone, though its marker is there; run `mmcl-cache repair`, then build again"
        ) from None
    if size != marker.bytes:
        raise DamagedCacheError(
            f"{path}: {size} bytes, its marker says {marker.bytes}; run `mmcl-cache repair`, then build again"
        )


def check_hash(folder: Path, index: int, marker: Marker) -> None:
    """Raises:
    DamagedCacheError: the shard's content is not what was written.
    """
    path = shard_path(folder, index)
    if file_sha256(path) != marker.sha256:
        raise DamagedCacheError(
            f"{path}: altered since it was written (sha256); run `mmcl-cache repair`, then build again"
        )


def read_shard(
    folder: Path,
    index: int,
    marker: Marker,
    columns: Sequence[Column],
    sample_ids: np.ndarray,
    verify: bool = True,
) -> Columns:
    """One shard as columns.

    Args:
        sample_ids: (rows,) str that the shard plan puts here.
        verify: compare the content's sha256 too.

    Raises:
        DamagedCacheError: anything is not as its marker and its field say.
    """
    check_size(folder, index, marker)
    if verify:
        check_hash(folder, index, marker)
    with open_arrays(shard_path(folder, index)) as file:
        if file.attributes.get("fingerprint") != marker.fingerprint:
            raise DamagedCacheError(
                f"{file.path}: made with other settings than its marker says; rebuild this shard"
            )
        rows = marker.rows
        stored = np.char.decode(_read_bytes(file, ID_COLUMN, rows), "utf-8")
        if len(stored) != len(sample_ids) or (stored != sample_ids).any():
            raise DamagedCacheError(
                f"{file.path}: its sample ids are not those of the shard plan; rebuild this shard"
            )
        status = np.char.decode(_read_bytes(file, STATUS_COLUMN, rows), "ascii")
        unknown = set(np.unique(status).tolist()) - set(STATUSES)
        if unknown:
            raise DamagedCacheError(f"{file.path}: unknown status {sorted(unknown)[0]!r}; rebuild this shard")
        reasons = _read_ragged(file, REASON_COLUMN, rows)
        values = {c.name: _read_column(file, c, rows) for c in columns}
    return Columns(sample_ids, status, reasons, values)


def read_lengths(
    folder: Path, index: int, marker: Marker, columns: Sequence[Column], verify: bool = True
) -> dict[str, np.ndarray]:
    """(rows,) int64 lengths of every ragged column, the reasons included, without reading what they hold.

    Raises:
        DamagedCacheError: anything is not as its marker says; with `verify` every byte is compared.
    """
    check_size(folder, index, marker)
    if verify:
        check_hash(folder, index, marker)
    ragged = [c.name for c in (REASON_COLUMN, *columns) if c.is_ragged]
    with open_arrays(shard_path(folder, index)) as file:
        return {n: np.diff(file.read(n + OFFSETS, np.dtype("int64"), (marker.rows + 1,))) for n in ragged}


def _read_bytes(file: ArrayFile, name: str, rows: int) -> np.ndarray:
    array = file.read(name, None, (rows,))
    if array.dtype.kind != "S":
        raise DamagedCacheError(
            f"{file.path}: array {name!r} is {array.dtype}, text expected; rebuild this shard"
        )
    return array


def _read_column(file: ArrayFile, column: Column, rows: int) -> np.ndarray | Ragged:
    if column.is_ragged:
        return _read_ragged(file, column, rows)
    return file.read(column.name, column.stored_dtype, (rows, *column.shape))


def _read_ragged(file: ArrayFile, column: Column, rows: int) -> Ragged:
    flat = file.read(column.name, column.stored_dtype, (None, *column.shape))
    offsets = file.read(column.name + OFFSETS, np.dtype("int64"), (rows + 1,))
    if offsets[0] != 0 or offsets[-1] != len(flat) or (np.diff(offsets) < 0).any():
        raise DamagedCacheError(
            f"{file.path}: offsets of {column.name!r} do not fit its data; rebuild this shard"
        )
    return Ragged(flat, offsets, column.dtype == "utf8")
