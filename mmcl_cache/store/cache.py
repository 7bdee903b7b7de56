"""A cache on disk: what data set it is of, which samples in which shard, and its fields.

CACHE/cache.json                    format, data set description, shard plan, digest of the ordered ids
CACHE/samples.h5                    sample_id, label, subject, camera, setup, split.<protocol>
CACHE/<field>/<variant>/field.json  settings, columns, fingerprint, what it was made from
CACHE/<field>/<variant>/00007.h5    rows; 00007.json beside it is the marker that it is complete
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_cache.errors import CacheError, DamagedCacheError, MissingFieldError, StaleCacheError
from mmcl_cache.store.columns import decode_texts
from mmcl_cache.store.field import Field
from mmcl_cache.store.files import file_sha256, read_json, write_json, written_in_place
from mmcl_cache.store.fingerprint import differences, fingerprint, join_some
from mmcl_cache.store.hdf5 import ArrayFile, find_arrays, write_arrays
from mmcl_cache.store.regular import read_regular
from mmcl_cache.store.schema import FORMAT_VERSION, SPLITS, Column, Description, SampleTable, ids_digest

MAX_TABLE_BYTES = 1 << 30
FIELDS = ("skeleton", "strip", "text", "rgb")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_TABLE = {"label": "labels", "subject": "subjects", "camera": "cameras", "setup": "setups"}


class Cache:
    """An open cache. Make one with `open_cache` or `create_cache`."""

    def __init__(self, path: Path, description: Description, samples: SampleTable, shard_size: int) -> None:
        self.path = path
        self.description = description
        self.samples = samples
        self.shard_size = shard_size

    @property
    def num_shards(self) -> int:
        return -(-len(self.samples) // self.shard_size)

    def shard_ids(self, index: int) -> np.ndarray:
        return self.samples.sample_ids[index * self.shard_size : (index + 1) * self.shard_size]

    def fields(self) -> dict[str, list[str]]:
        """Field → its variants, as far as they are on disk."""
        found: dict[str, list[str]] = {}
        for field in FIELDS:
            variants = sorted(p.parent.name for p in (self.path / field).glob("*/field.json"))
            if variants:
                found[field] = variants
        return found

    def field(self, field: str, variant: str = "default") -> Field:
        """Open a field variant.

        Raises:
            MissingFieldError: it is not there; the message lists what is.
            DamagedCacheError: its field.json is not what was written.
        """
        there = self.fields()
        if variant not in there.get(field, []):
            known = ", ".join(f"{f}/{v}" for f, variants in there.items() for v in variants) or "nothing yet"
            raise MissingFieldError(
                f"{self.path} has no {field}/{variant}; it has: {known}. `mmcl-cache build --field {field}` makes it"
            )
        path = self.path / field / variant / "field.json"
        value = read_json(path)
        try:
            if not all(isinstance(value[key], dict) for key in ("settings", "made_from", "info")):
                raise TypeError("settings, made_from and info must be objects")
            opened = self._field(
                field,
                variant,
                value["settings"],
                [Column.from_json(c) for c in value["columns"]],
                value["made_from"],
                value["info"],
            )
            agrees = value["fingerprint"] == opened.fingerprint
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedCacheError(
                f"{path}: not a field description ({error!r}); restore or rebuild it"
            ) from None
        if not agrees:
            raise DamagedCacheError(
                f"{path}: altered since it was written; restore it or rebuild {field}/{variant}"
            )
        return opened

    def add_field(
        self,
        field: str,
        variant: str,
        settings: Mapping[str, Any],
        columns: Sequence[Column],
        made_from: Field | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> Field:
        """The field variant with these settings, new or continued.

        Raises:
            StaleCacheError: it is on disk with other settings; the message names those that differ.
            CacheError: a name that cannot be a folder.
        """
        if field not in FIELDS:
            raise CacheError(f"no field {field!r}; there are: {', '.join(FIELDS)}")
        if not _NAME.fullmatch(variant):
            raise CacheError(
                f"variant {variant!r}: use lower-case letters, digits, '.', '_' and '-' (63 at most)"
            )
        source = {made_from.field: made_from.fingerprint} if made_from else {}
        asked = self._field(field, variant, settings, columns, source, info or {})
        if variant in self.fields().get(field, []):
            stored = self.field(field, variant)
            if stored.fingerprint != asked.fingerprint:
                found = differences(self.spell_out(stored), self.spell_out(asked))
                raise StaleCacheError(
                    f"{self.path}: {field}/{variant} was built with other settings: {join_some(found)}. "
                    f"Build beside it with --variant {field}=NAME, or into another --cache"
                )
            return stored
        asked.folder.mkdir(parents=True, exist_ok=True)
        write_json(
            asked.folder / "field.json",
            {
                "field": field,
                "variant": variant,
                "settings": asked.settings,
                "columns": [c.to_json() for c in asked.columns],
                "made_from": asked.made_from,
                "info": asked.info,
                "fingerprint": asked.fingerprint,
            },
        )
        return asked

    def spell_out(self, field: Field) -> dict[str, Any]:
        """What a fingerprint is taken of, with the settings of what it was made from in place of their fingerprint."""
        known = {f.fingerprint: f.identity for name in field.made_from for f in self._variants(name)}
        made_from = {name: known.get(value, value) for name, value in field.made_from.items()}
        return {**field.identity, "made_from": made_from}

    def _variants(self, field: str) -> list[Field]:
        return [self.field(field, variant) for variant in self.fields().get(field, [])]

    def _field(
        self,
        field: str,
        variant: str,
        settings: Mapping[str, Any],
        columns: Sequence[Column],
        made_from: Mapping[str, str],
        info: Mapping[str, Any],
    ) -> Field:
        folder = self.path / field / variant
        shards = [self.shard_ids(k) for k in range(self.num_shards)]
        return Field(folder, field, variant, settings, columns, made_from, info, shards)


def create_cache(path: Path, description: Description, samples: SampleTable, shard_size: int) -> Cache:
    """A new cache, or the one that is there where it was planned the same.

    Raises:
        StaleCacheError: one is there, of another data set, other samples or another shard size.
        CacheError: the folder is there and holds something else.
    """
    if shard_size < 1:
        raise CacheError(f"shard size {shard_size}: must be 1 or more")
    if not len(samples):
        raise CacheError("no samples to cache")
    if (path / "cache.json").exists():
        return _same_plan(open_cache(path), description, samples, shard_size)
    if path.is_file():
        raise CacheError(f"{path} is a file; name a folder for --cache")
    path.mkdir(parents=True, exist_ok=True)
    strangers = [p.name for p in path.iterdir() if not p.name.startswith(".") and p.name != "samples.h5"]
    if strangers:
        raise CacheError(
            f"{path} holds {strangers[0]!r} and is no cache; name an empty or new folder for --cache"
        )
    arrays = {"sample_id": np.asarray([i.encode() for i in samples.sample_ids.tolist()], dtype="S")}
    arrays |= {name: getattr(samples, plural).astype(np.int32) for name, plural in _TABLE.items()}
    arrays |= {f"split.{name}": codes.astype(np.uint8) for name, codes in samples.splits.items()}
    table = path / "samples.h5"
    with written_in_place(table) as temporary:
        write_arrays(temporary, arrays, {"format_version": FORMAT_VERSION})
    write_json(
        path / "cache.json",
        {
            "format_version": FORMAT_VERSION,
            "description": description.to_json(),
            "shard_size": shard_size,
            "samples": {
                "count": len(samples),
                "digest": ids_digest(samples.sample_ids.tolist()),
                "sha256": file_sha256(table),
            },
        },
    )
    return Cache(path, description, samples, shard_size)


def _same_plan(cache: Cache, description: Description, samples: SampleTable, shard_size: int) -> Cache:
    found = differences(cache.description.to_json(), description.to_json())
    if cache.shard_size != shard_size:
        found.append(f"shard_size is {cache.shard_size} on disk, {shard_size} asked for")
    here, asked = set(cache.samples.sample_ids.tolist()), set(samples.sample_ids.tolist())
    if here != asked:
        example = sorted(here ^ asked)[0]
        found.append(
            f"{len(here)} samples on disk, {len(asked)} found now ({len(asked - here)} new, {len(here - asked)} gone, "
            f"such as {example!r})"
        )
    elif not found:
        ours, theirs = _table_columns(cache.samples), _table_columns(samples)
        for name in theirs:
            differs = np.flatnonzero(ours[name] != theirs[name])
            if len(differs):
                n = int(differs[0])
                found.append(
                    f"{name} of {len(differs)} samples, such as {str(cache.samples.sample_ids[n])!r}, is "
                    f"{ours[name][n]} on disk, {theirs[name][n]} asked for"
                )
    if found:
        raise StaleCacheError(
            f"{cache.path} was planned otherwise: {join_some(found)}. Name another --cache, or the same source"
        )
    return cache


def _table_columns(samples: SampleTable) -> dict[str, np.ndarray]:
    plain = {name: getattr(samples, plural) for name, plural in _TABLE.items()}
    return plain | {f"split.{name}": codes for name, codes in samples.splits.items()}


def open_cache(path: Path) -> Cache:
    """Open a cache and check its plan; shards are checked when they are read.

    Raises:
        MissingFieldError: no cache there.
        DamagedCacheError: its description or sample table is not what was written.
    """
    path = Path(path)
    try:
        value = read_json(path / "cache.json")
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFieldError(
            f"no cache at {path} (no cache.json); `mmcl-cache build --cache {path}` makes one"
        ) from None
    if value.get("format_version") != FORMAT_VERSION:
        raise CacheError(
            f"{path}: cache format {value.get('format_version')}, this version reads {FORMAT_VERSION}"
        )
    table = path / "samples.h5"
    try:
        description = Description.from_json(value["description"])
        shard_size, count = value["shard_size"], value["samples"]["count"]
        digest, sha256 = value["samples"]["digest"], value["samples"]["sha256"]
        if type(shard_size) is not int or shard_size < 1 or type(count) is not int or count < 1:
            raise TypeError("shard_size and count must be whole numbers from 1")
    except (KeyError, TypeError, CacheError) as error:
        raise DamagedCacheError(
            f"{path / 'cache.json'}: not a cache description ({error}); restore it"
        ) from None
    try:
        content = read_regular(table, MAX_TABLE_BYTES)
    except FileNotFoundError:
        raise DamagedCacheError(f"{table}: gone; restore it") from None
    except OSError as error:
        raise DamagedCacheError(f"{table}: cannot be read ({error.strerror}); restore it") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedCacheError(f"{table}: altered since it was written (sha256); restore it")
    try:
        samples = _read_table(table, content, description, count)
    except DamagedCacheError:
        raise
    except CacheError as error:
        raise DamagedCacheError(f"{table}: {error}; restore it") from None
    if ids_digest(samples.sample_ids.tolist()) != digest:
        raise DamagedCacheError(f"{table}: its ids are not those of cache.json; restore it")
    return Cache(path, description, samples, shard_size)


def _read_table(path: Path, content: bytes, description: Description, count: int) -> SampleTable:
    file = ArrayFile(path, content, find_arrays(path, content)[0])
    ids = decode_texts(file.read("sample_id", None, (count,)), path, "sample_id")
    plain = {plural: file.read(name, np.dtype("int32"), (count,)) for name, plural in _TABLE.items()}
    splits = {p: file.read(f"split.{p}", np.dtype("uint8"), (count,)) for p in description.protocols}
    if not ((plain["labels"] >= 0) & (plain["labels"] < description.num_classes)).all():
        raise DamagedCacheError(
            f"{path}: a label is none of the {description.num_classes} classes; restore it"
        )
    if any((codes >= len(SPLITS)).any() for codes in splits.values()):
        raise DamagedCacheError(f"{path}: a sample is in a split that is none; restore it")
    return SampleTable(
        ids,
        plain["labels"],
        plain["subjects"],
        plain["cameras"],
        plain["setups"],
        splits,
    )


def cache_fingerprint(cache: Cache, fields: Sequence[Field]) -> str:
    """One fingerprint of the plan and of these fields, for a run to remember what it was trained from."""
    return fingerprint(
        {
            "description": cache.description.to_json(),
            "ids": ids_digest(cache.samples.sample_ids.tolist()),
            "fields": {f.name: f.fingerprint for f in fields},
        }
    )
