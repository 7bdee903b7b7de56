"""What the method's authors store a sample, text features `<id>.npy` and strips `<id>.jpg`, into an existing cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.datasets.import_published import find_published, read_published_strip, read_published_text
from mmcl_cache.errors import SampleError, SourceError
from mmcl_cache.store import Cache, Column, Field, Row
from mmcl_cache.store.files import file_sha256
from mmcl_cache.store.lock import hold_lock

Say = Callable[[int, int], None]
SUFFIXES = {"text": ".npy", "strip": ".jpg"}


def import_features(cache: Cache, folder: Path, field: str, variant: str, say: Say) -> tuple[Field, int]:
    """Files of a folder as a variant of the field `text` or `strip`, joined on the sample id.

    A sample without a file is a row that says so; a file without a sample is counted.

    Returns:
        the field, and how many files belong to no sample of the cache.

    Raises:
        SourceError: no such files, none that belongs to a sample, or text features of different kinds.
        UserError: the variant is there, made from something else.
    """
    found = find_published(folder, SUFFIXES[field])
    known = set(cache.samples.sample_ids.tolist())
    mine = {sample_id: path for sample_id, path in found.items() if sample_id in known}
    if not mine:
        raise SourceError(
            f"{folder}: {len(found)} {SUFFIXES[field]} files, none named after a sample of {cache.path} "
            f"(such as {cache.samples.sample_ids[0]}{SUFFIXES[field]})"
        )
    columns, make = (
        (_text_columns(mine), _text_values) if field == "text" else (_STRIP_COLUMNS, _strip_values)
    )
    settings = {"imported": SUFFIXES[field], "files_sha256": _digest(mine)}
    with hold_lock(cache.path):
        opened = cache.add_field(field, variant, settings, columns, info={"imported": folder.name})
        for k in opened.pending():
            rows = [_row(i, mine.get(i), columns, make) for i in opened.shard_ids(k).tolist()]
            opened.write_shard(k, rows)
            say(k + 1, opened.num_shards)
    return opened, len(found) - len(mine)


_STRIP_COLUMNS = (Column("jpeg", "uint8", (), True, "", "JPEG file of the strip, sRGB"),)


def _row(
    sample_id: str,
    path: Path | None,
    columns: tuple[Column, ...],
    make: Callable[[Path, tuple[Column, ...]], Mapping[str, Any]],
) -> Row:
    if path is None:
        return Row(sample_id, "absent", "no file of this name was imported")
    try:
        return Row(sample_id, "ok", "", make(path, columns))
    except SampleError as error:
        return Row(sample_id, "failed", str(error).replace(f"{path.parent}/", ""))


def _strip_values(path: Path, columns: tuple[Column, ...]) -> Mapping[str, Any]:
    data, _ = read_published_strip(path)
    return {"jpeg": np.frombuffer(data, dtype=np.uint8)}


def _text_columns(mine: Mapping[str, Path]) -> tuple[Column, ...]:
    """Token ids or a hidden state, told from the first readable file; token rows are as wide as the widest."""
    features = [feature for path in mine.values() if (feature := _try_text(path)) is not None]
    if not features:
        raise SourceError(f"{next(iter(mine.values())).parent}: not one readable text feature")
    if features[0].dtype.kind == "i":
        width = max(len(f) for f in features)
        return (
            Column(
                "tokens", "int32", (1, width), False, "", "token ids, begin and end included, padded with 0"
            ),
            Column("token_count", "int32", (1,)),
        )
    return (Column("hidden_mean", "float32", (1, len(features[0])), False, "", "the imported feature"),)


def _try_text(path: Path) -> NDArray[Any] | None:
    try:
        return read_published_text(path)
    except SampleError:
        return None


def _text_values(path: Path, columns: tuple[Column, ...]) -> Mapping[str, Any]:
    feature, wanted = read_published_text(path), columns[0]
    is_tokens = wanted.name == "tokens"
    if is_tokens != (feature.dtype.kind == "i") or (not is_tokens and feature.shape != wanted.shape[1:]):
        raise SampleError(
            f"{path}: {feature.dtype} of shape {feature.shape}, other files have {wanted.name} {wanted.shape}"
        )
    if not is_tokens:
        return {"hidden_mean": feature[None]}
    padded = np.zeros(wanted.shape, dtype=np.int32)
    padded[0, : len(feature)] = feature
    return {"tokens": padded, "token_count": np.asarray([len(feature)])}


def _digest(files: Mapping[str, Path]) -> str:
    """sha256 over (id, content) of every file: other files are other settings."""
    digest = hashlib.sha256()
    for sample_id, path in sorted(files.items()):
        digest.update(f"{sample_id} {file_sha256(path)}\n".encode())
    return digest.hexdigest()
