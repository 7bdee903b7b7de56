"""One shard of one field variant: an HDF5 file of columns, and the marker that says it is complete.

00007.h5    sample_id, status, reason, and the field's columns; every file can be read on its own
00007.json  the marker, written last: rows, bytes, sha256, fingerprint, how many rows of each status
00007.new.h5  what a replaced shard is read from until its replacement is finished; see `replacement`
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from mmcl_cache.errors import DamagedCacheError, UserError
from mmcl_cache.store.columns import Ragged, pack_column, status_array
from mmcl_cache.store.contents import COUNTED, OFFSETS
from mmcl_cache.store.files import file_sha256, written_in_place
from mmcl_cache.store.hdf5 import ArrayFile, Place, find_arrays, write_arrays
from mmcl_cache.store.marker import Marker, data_path, shard_path, write_marker
from mmcl_cache.store.regular import open_regular
from mmcl_cache.store.schema import (
    FORMAT_VERSION,
    ID_COLUMN,
    REASON_COLUMN,
    SOURCE_COLUMN,
    STATUS_COLUMN,
    STATUSES,
    Column,
    Row,
    ids_digest,
)
from mmcl_cache.store.seals import SealBook, Stamp

Check = Literal["always", "once", "never"]
# Of a shard's content against its marker: always; unless the same file was hashed before and nothing has touched it
# since; never, where rows are only counted: then no column can be read. Size, ids and settings are compared always.


def write_shard(
    folder: Path, index: int, fingerprint: str, columns: Sequence[Column], rows: Sequence[Row]
) -> Marker:
    """Write a shard and then its marker; until the marker is there, the shard does not exist for any reader.

    Raises:
        ValueError: a row does not fit the columns.
        OSError: the disk refused; nothing of this shard is left.
    """
    marker = write_data(shard_path(folder, index), index, fingerprint, columns, rows)
    write_marker(folder, index, marker)
    return marker


def write_data(
    path: Path, index: int, fingerprint: str, columns: Sequence[Column], rows: Sequence[Row]
) -> Marker:
    """Write the file of a shard; returns the marker that would make it count.

    Raises:
        ValueError, OSError: as `write_shard`.
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
    if any(row.source for row in rows):
        values[SOURCE_COLUMN] = [row.source for row in rows]
    values |= {c: [row.values[c.name] if row.status == "ok" else None for row in rows] for c in columns}
    for column, cells in values.items():
        packed = pack_column(column, cells)
        if isinstance(packed, Ragged):
            arrays[column.name] = packed.flat
            arrays[column.name + OFFSETS] = packed.offsets
        else:
            arrays[column.name] = packed
    with written_in_place(path) as temporary:
        write_arrays(
            temporary, arrays, {"format_version": FORMAT_VERSION, "fingerprint": fingerprint, "shard": index}
        )
        sha256, size = file_sha256(temporary), temporary.stat().st_size
    statuses = Counter(row.status for row in rows)
    return Marker(
        fingerprint,
        len(rows),
        size,
        sha256,
        ids_digest(sample_ids),
        {s: statuses.get(s, 0) for s in STATUSES},
    )


@contextmanager
def open_shard(
    folder: Path, index: int, marker: Marker, seals: SealBook, check: Check = "once"
) -> Iterator[ArrayFile]:
    """A shard's file, found to be what its marker says.

    With "never" only what is said of rows is there to be read, not their values. With "always", and with "once" unless
    it is sealed, the whole file is read, hashed and used from the same bytes.

    Raises:
        DamagedCacheError: it is gone, of another size, of other content, or not what a cache holds.
    """
    path = data_path(folder, index, marker)
    with _open_file(path) as handle:
        stamp = Stamp.of(handle.fileno())
        if stamp.size != marker.bytes:
            raise DamagedCacheError(
                f"{path}: {stamp.size} bytes, its marker says {marker.bytes}; "
                "run `mmcl-cache repair`, then build again"
            )
        places = None if check == "always" else seals.find(index, stamp, marker)
        if places is None and check != "never":
            content = _read_all(path, handle, stamp.size)
            places = _find_hashed(path, content, marker)
            seals.add(index, stamp, marker, places)
            yield ArrayFile(path, content, places)
            return
        if places is None:
            places, attributes = find_arrays(path, only=COUNTED)
            _check_fingerprint(path, attributes, marker)
        yield ArrayFile(path, handle.fileno(), places)
        if Stamp.of(handle.fileno()) != stamp:
            raise DamagedCacheError(f"{path}: changed while it was read; run the same command again")


def _open_file(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except FileNotFoundError:
        raise DamagedCacheError(
            f"{path}: gone, though its marker is there; run `mmcl-cache repair`, then build again"
        ) from None
    except PermissionError:
        raise UserError(f"{path}: may not be read; mend its permissions") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _read_all(path: Path, handle: BinaryIO, size: int) -> bytes:
    try:
        return handle.read(size)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> DamagedCacheError:
    return DamagedCacheError(
        f"{path}: cannot be read ({error.strerror}); run `mmcl-cache repair`, then build again"
    )


def _find_hashed(path: Path, content: bytes, marker: Marker) -> dict[str, Place]:
    """Where the arrays of a shard lie whose whole content is here, once that is what was written."""
    if hashlib.sha256(content).hexdigest() != marker.sha256:
        raise DamagedCacheError(
            f"{path}: altered since it was written (sha256); run `mmcl-cache repair`, then build again"
        )
    places, attributes = find_arrays(path, content)
    _check_fingerprint(path, attributes, marker)
    return places


def _check_fingerprint(path: Path, attributes: dict[str, Any], marker: Marker) -> None:
    # Its hash tells as much of a file whose fingerprint cannot be read.
    if attributes.get("fingerprint", marker.fingerprint) != marker.fingerprint:
        raise DamagedCacheError(f"{path}: made with other settings than its marker says; rebuild this shard")
