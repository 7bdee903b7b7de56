"""The marker of a shard: what says that it is complete, and what is known of it without opening it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from mmcl_cache.errors import DamagedCacheError
from mmcl_cache.store.files import read_json, write_json
from mmcl_cache.store.schema import FORMAT_VERSION, STATUSES


@dataclass(frozen=True)
class Marker:
    """What is known of a complete shard without opening it.

    `replacement` is only true between the moment a shard is replaced and the one its new file has the old one's name.
    """

    fingerprint: str
    rows: int
    bytes: int
    sha256: str
    ids: str  # digest of the ordered sample ids
    statuses: dict[str, int]
    format_version: int = FORMAT_VERSION
    replacement: bool = False


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.h5"


def marker_path(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.json"


def replacement_path(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.new.h5"


def data_path(folder: Path, index: int, marker: Marker) -> Path:
    """The file that a marker speaks of."""
    return replacement_path(folder, index) if marker.replacement else shard_path(folder, index)


def write_marker(folder: Path, index: int, marker: Marker) -> None:
    value = asdict(marker)
    if not marker.replacement:
        del value["replacement"]
    write_json(marker_path(folder, index), value)


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
    if (
        set(value) - {"replacement"} != {*kinds, "format_version"}
        or value.get("replacement", True) is not True
    ):
        raise DamagedCacheError(f"{path}: unknown keys; remove this file and its shard, and build again")
    return Marker(**value)
