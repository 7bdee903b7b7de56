"""One field variant of a cache: its settings, its shards, and loading it joined on the sample id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_cache.errors import CacheError, DamagedCacheError, MissingFieldError
from mmcl_cache.store.columns import Columns
from mmcl_cache.store.contents import read_columns, read_offsets
from mmcl_cache.store.fingerprint import fingerprint
from mmcl_cache.store.join import JoinedTable, Part, divide, map_threads
from mmcl_cache.store.marker import Marker, read_marker, replacement_path
from mmcl_cache.store.replacement import finish_replacement, replace_shard
from mmcl_cache.store.schema import FORMAT_VERSION, Column, Row
from mmcl_cache.store.seals import SealBook
from mmcl_cache.store.shard import Check, open_shard, write_shard


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
        self.seals = SealBook(folder)
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

    @cached_property
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
                f"{self.folder}: shard {index} was made with other settings than field.json says "
                f"(fingerprint {marker.fingerprint[:12]}, field.json {self.fingerprint[:12]}); "
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
        self._check_ids(index, rows)
        return write_shard(self.folder, index, self.fingerprint, self.columns, rows)

    def replace_shard(self, index: int, rows: Sequence[Row]) -> Marker:
        """Put these rows in the place of complete shard `index`; killed at any moment, one of the two is there, whole.

        Raises:
            ValueError: as `write_shard`.
            MissingFieldError: the shard is not built yet.
        """
        self._complete(index)
        self._check_ids(index, rows)
        return replace_shard(self.folder, index, self.fingerprint, self.columns, rows)

    def finish_replacements(self) -> None:
        """Finish what a killed `replace_shard` began; only for who holds the cache's lock."""
        for k in range(self.num_shards):
            if not replacement_path(self.folder, k).exists():
                continue
            marker = self.marker(k)
            if marker is not None and marker.replacement:
                finish_replacement(self.folder, k, marker)
            else:
                replacement_path(self.folder, k).unlink()

    def _check_ids(self, index: int, rows: Sequence[Row]) -> None:
        if [row.sample_id for row in rows] != self._shards[index].tolist():
            raise ValueError(f"{self.name}: the rows of shard {index} are not those of the plan")

    def read_shard(self, index: int, columns: Iterable[str] | None = None, check: Check = "once") -> Columns:
        """One shard, all its rows.

        Args:
            check: when its content is compared with its hash.

        Raises:
            MissingFieldError: it is not built yet.
            DamagedCacheError: it is not what was written.
        """
        marker, chosen = self._complete(index), self._chosen(columns)
        with open_shard(self.folder, index, marker, self.seals, check) as file:
            return read_columns(file, chosen, self._shards[index])

    def load(
        self,
        sample_ids: Sequence[str] | np.ndarray,
        columns: Iterable[str] | None = None,
        spare: int = 0,
    ) -> Columns:
        """The rows of these samples, in the order asked, joined on the sample id.

        Every shard it reads has been compared with its hash and not been touched since (see `seals`), so altered
        bytes never get further than here. Memory holds the result and a few shards.

        Args:
            spare: elements of zeros after the last row of every ragged column, beyond its offsets, for a reader
                that needs such a place and would have to copy everything to have it.

        Raises:
            MissingFieldError: a shard is not built, or a sample is not in the plan.
            DamagedCacheError: a shard is not what was written.
        """
        wanted = np.asarray(sample_ids, dtype=str)
        chosen = self._chosen(columns)
        try:
            parts = divide(self._shards, wanted)
        except KeyError as error:
            raise MissingFieldError(f"{self.name} has no sample {error.args[0]!r}") from None
        markers = {part.shard: self._complete(part.shard) for part in parts}

        def measure(part: Part) -> dict[str, np.ndarray]:
            with open_shard(self.folder, part.shard, markers[part.shard], self.seals) as file:
                rows = len(self._shards[part.shard])
                return {c.name: np.diff(read_offsets(file, c, rows))[part.rows] for c in ragged}

        def fill(part: Part) -> None:
            with open_shard(self.folder, part.shard, markers[part.shard], self.seals) as file:
                joined.fill(part, file, self._shards[part.shard])

        # Hashing leaves the interpreter to other threads; the little reads of sealed shards would only wait for it.
        run = map if all(part.shard in self.seals for part in parts) else map_threads
        # Lengths first, then values to their places, so that memory holds the result and no second copy.
        ragged = [c for c in chosen if c.is_ragged]
        lengths = {c.name: np.zeros(len(wanted), dtype=np.int64) for c in ragged}
        for part, found in zip(parts, run(measure, parts), strict=True) if ragged else ():
            for name, each in found.items():
                lengths[name][part.places] = each
        try:
            joined = JoinedTable(wanted, chosen, lengths, spare)
        except (MemoryError, ValueError):
            raise CacheError(f"{self.folder}: {len(wanted)} rows, more than memory can hold") from None
        for _ in run(fill, parts):
            pass
        self.seals.save()
        return joined.columns()

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
