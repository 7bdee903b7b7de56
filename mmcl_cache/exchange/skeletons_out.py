"""The skeletons of a cache as CTR-GCN's `.npz` or pyskl's `.pkl`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.datasets import ntu_ids
from mmcl_cache.datasets.import_ctrgcn import order_ids, write_ctrgcn_npz
from mmcl_cache.datasets.import_pyskl import make_annotation, write_pyskl_pkl
from mmcl_cache.errors import SampleError, UserError
from mmcl_cache.store import Cache
from mmcl_cache.store.schema import SPLITS

FORMATS = ("ctrgcn", "pyskl")


def export_skeletons(
    cache: Cache,
    path: Path,
    form: str,
    protocol: str | None,
    say: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, int]:
    """Write every valid skeleton of a cache in a format of others. The file is there only when it is whole.

    All skeletons are in memory meanwhile (3.3 GB for NTU-120).

    Args:
        form: "ctrgcn" (NTU ids and 25 joints only, one protocol) or "pyskl" (all protocols).
        protocol: of the `.npz`; by default the cache's first.
        say: called with the clips taken and their number.

    Returns:
        how many clips were written, and how many rows were left out as not valid.

    Raises:
        UserError: a format or protocol the cache cannot give.
    """
    if form not in FORMATS:
        raise UserError(f"no format {form!r}; known: {', '.join(FORMATS)}")
    field = cache.field("skeleton")
    stored = field.load(cache.samples.sample_ids, ("joints", "bodies"))
    place = {i: n for n, i in enumerate(stored.sample_ids.tolist()) if stored.status[n] == "ok"}
    if not place:
        raise UserError(f"{cache.path}: no valid skeleton to export")
    path.parent.mkdir(parents=True, exist_ok=True)
    taken = itertools.count(1)

    def clip(n: int) -> NDArray[np.float32]:
        """(T, M, V, C) of row n."""
        say(next(taken), len(place))
        joints = stored["joints"][n]
        return joints.reshape(-1, int(stored["bodies"][n]), *joints.shape[1:])

    if form == "ctrgcn":
        _write_npz(cache, path, protocol, clip, place)
    else:
        _write_pkl(cache, path, clip, place, flat=field.columns[0].unit == "px")
    return len(place), len(stored) - len(place)


Clip = Callable[[int], NDArray[np.float32]]


def _write_npz(cache: Cache, path: Path, protocol: str | None, clip: Clip, place: dict[str, int]) -> None:
    size = cache.description.num_classes
    if size not in ntu_ids.PROTOCOLS or any(ntu_ids.parse_id(i) is None for i in place):
        raise UserError(
            f"{cache.path}: CTR-GCN's .npz is a layout of NTU's ids and classes; use --format pyskl"
        )
    known = cache.description.protocols
    chosen = protocol or known[0]
    if chosen not in known or chosen not in ntu_ids.PROTOCOLS[size]:
        raise UserError(f"{cache.path}: no protocol {chosen!r} to export; it has: {', '.join(known)}")
    try:
        write_ctrgcn_npz(path, order_ids(place, chosen, size), size, lambda i: clip(place[i]))
    except SampleError as error:
        raise UserError(str(error)) from None


def _write_pkl(cache: Cache, path: Path, clip: Clip, place: dict[str, int], flat: bool) -> None:
    labels = dict(zip(cache.samples.sample_ids.tolist(), cache.samples.labels.tolist(), strict=True))
    splits = {
        protocol: {
            i: SPLITS[code] for i, code in zip(labels, codes.tolist(), strict=True) if code and i in place
        }
        for protocol, codes in cache.samples.splits.items()
    }
    write_pyskl_pkl(
        path, (make_annotation(i, labels[i], clip(n), flat=flat) for i, n in place.items()), splits
    )
