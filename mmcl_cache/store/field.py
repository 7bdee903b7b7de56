"""One field variant of a cache: its settings, its shards, and loading it joined on the sample id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_cache.errors import DamagedCacheError, MissingFieldError
from mmcl_cache.store.columns import Columns, Ragged
from mmcl_cache.store.fingerprint import fingerprint
from mmcl_cache.store.schema import FORMAT_VERSION, REASON_COLUMN, Column, Row
from mmcl_cache.store.shard import Marker, read_lengths, read_marker, read_shard, write_shard


class Field:
    """A folder `CACHE/<field>/<variant>`: `field.json` and one shard with its marker for each slice of the plan.

    Args:
        folder: of this variant.
        field, variant: names.
        settings: all that changes bytes.
        columns: in every row that is ok.
        made_from: fingerprint of the variant it was computed from, by field name.
        info: for people; not in the fingerprint.
        shards: for each shard, its sorted sample ids.
    """

    def __init__(
        self,
        folder: Path,
        field: str,
        variant: str,
        settings: Mapping[str, Any],
        columns: Sequence[Column],
        made_from: Mapping[str, str],
        info: Mapping[str, Any],
        shards: Sequence[np.ndarray],
    ) -> None:
        self.folder = folder
        self.field = field
        self.variant = variant
        self.settings = dict(settings)
        self.columns = tuple(columns)
        self.made_from = dict(made_from)
        self.info = dict(info)
        self._shards = shards

    @property
    def name(self) -> str:
        return f"{self.field}/{self.variant}"

    @property
    def identity(self) -> dict[str, Any]:
        """What the fingerprint is taken of."""
        return {
            "format": FORMAT_VERSION,
            "field": self.field,
            "settings": self.settings,
            "columns": [c.to_json() for c in self.columns],
            "made_from": self.made_from,
        }

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.identity)

    @property
    def num_shards(self) -> int:
        return len(self._shards)

    def shard_ids(self, index: int) -> np.ndarray:
        return self._shards[index]

    def marker(self, index: int) -> Marker | None:
        """None where the shard is pending.

        Raises:
            DamagedCacheError: a marker of other settings or other rows.
        """
        marker = read_marker(self.folder, index)
        if marker is None:
            return None
        if marker.fingerprint != self.fingerprint:
            raise DamagedCacheError(
                f"{self.folder}: shard {index} was made with other settings than field.json says; "
                "run `mmcl-cache repair`, then build again"
            )
        if marker.rows != len(self._shards[index]):
            raise DamagedCacheError(
                f"{self.folder}: shard {index} has {marker.rows} rows, the plan {len(self._shards[index])}"
            )
        return marker

    def pending(self) -> list[int]:
        """Shards that are not complete yet."""
        return [k for k in range(self.num_shards) if self.marker(k) is None]

    def write_shard(self, index: int, rows: Sequence[Row]) -> Marker:
        """Write shard `index`. The rows are those of the plan, in its order.

        Raises:
            ValueError: other ids, or rows that do not fit the columns.
        """
        ids = [row.sample_id for row in rows]
        if ids != self._shards[index].tolist():
            raise ValueError(f"{self.name}: the rows of shard {index} are not those of the plan")
        return write_shard(self.folder, index, self.fingerprint, self.columns, rows)

    def read_shard(self, index: int, columns: Iterable[str] | None = None, verify: bool = True) -> Columns:
        """One shard, all its rows.

        Raises:
            MissingFieldError: it is not built yet.
            DamagedCacheError: it is not what was written.
        """
        marker = self._complete(index)
        return read_shard(self.folder, index, marker, self._chosen(columns), self._shards[index], verify)

    def load(self, sample_ids: Sequence[str] | np.ndarray, columns: Iterable[str] | None = None) -> Columns:
        """The rows of these samples, in the order asked, joined on the sample id.

        Every shard it reads is compared with its hash first, so altered bytes never get further than here.

        Raises:
            MissingFieldError: a shard is not built, or a sample is not in the plan.
            DamagedCacheError: a shard is not what was written.
        """
        wanted = np.asarray(sample_ids, dtype=str)
        chosen = self._chosen(columns)
        shard_of, row_of = self._locate(wanted)
        markers = {k: self._complete(k) for k in np.unique(shard_of).tolist()}
        # Two passes, so that memory holds the result and one shard: lengths first, then the values into their places.
        lengths = {
            c.name: np.zeros(len(wanted), dtype=np.int64) for c in (REASON_COLUMN, *chosen) if c.is_ragged
        }
        for k, marker in markers.items():
            here = shard_of == k
            for name, found in read_lengths(self.folder, k, marker, chosen).items():
                lengths[name][here] = found[row_of[here]]
        status = np.empty(len(wanted), dtype="U6")
        joined = {c.name: _empty(c, len(wanted), lengths.get(c.name)) for c in (REASON_COLUMN, *chosen)}
        for k, marker in markers.items():
            here = np.flatnonzero(shard_of == k)
            rows = row_of[here]
            part = read_shard(self.folder, k, marker, chosen, self._shards[k], verify=False)
            status[here] = part.status[rows]
            for name, values in {REASON_COLUMN.name: part.reasons, **part.values}.items():
                _scatter(values, rows, joined[name], here)
        reasons = joined.pop(REASON_COLUMN.name)
        assert isinstance(reasons, Ragged)
        return Columns(wanted, status, reasons, joined)

    def _complete(self, index: int) -> Marker:
        """The marker of a shard that must be there."""
        marker = self.marker(index)
        if marker is None:
            raise MissingFieldError(
                f"{self.folder}: shard {index} of {self.num_shards} is not built; "
                "run the same `mmcl-cache build` again to finish it"
            )
        return marker

    def _chosen(self, columns: Iterable[str] | None) -> tuple[Column, ...]:
        if columns is None:
            return self.columns
        wanted = set(columns)
        unknown = wanted - {c.name for c in self.columns}
        if unknown:
            known = ", ".join(c.name for c in self.columns)
            raise MissingFieldError(f"{self.name} has no column {sorted(unknown)[0]!r}; it has: {known}")
        return tuple(c for c in self.columns if c.name in wanted)

    def _locate(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) shard and (n,) row in it, of each id."""
        every = np.concatenate(self._shards) if self._shards else np.zeros(0, dtype=str)
        sizes = np.asarray([len(s) for s in self._shards], dtype=np.int64)
        starts = np.cumsum(sizes) - sizes
        at = np.searchsorted(every, wanted)
        if not len(every):
            raise MissingFieldError(f"{self.name}: the cache has no samples")
        missing = every[np.minimum(at, len(every) - 1)] != wanted
        if missing.any():
            raise MissingFieldError(f"{self.name} has no sample {str(wanted[missing][0])!r}")
        shard_of = np.searchsorted(starts, at, side="right") - 1
        return shard_of, at - starts[shard_of]


def _empty(column: Column, rows: int, lengths: np.ndarray | None) -> np.ndarray | Ragged:
    """Room for a joined column."""
    if lengths is None:
        return np.empty((rows, *column.shape), dtype=column.stored_dtype)
    offsets = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    flat = np.empty((int(offsets[-1]), *column.shape), dtype=column.stored_dtype)
    return Ragged(flat, offsets, column.dtype == "utf8")


def _scatter(
    values: np.ndarray | Ragged, rows: np.ndarray, into: np.ndarray | Ragged, places: np.ndarray
) -> None:
    """Copy some rows of a shard's column to their places in the joined one."""
    if isinstance(values, np.ndarray):
        assert isinstance(into, np.ndarray)
        into[places] = values[rows]
        return
    assert isinstance(into, Ragged)
    filled = into.offsets[places + 1] > into.offsets[places]  # most reasons are empty
    for row, place in zip(rows[filled].tolist(), places[filled].tolist(), strict=True):
        into.flat[into.offsets[place] : into.offsets[place + 1]] = values.stored(row)
