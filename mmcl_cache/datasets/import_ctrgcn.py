"""CTR-GCN's prepared NTU files: NTU60_CS.npz, NTU60_CV.npz, NTU120_CSub.npz, NTU120_CSet.npz, in and out.

Inside are x_train, y_train, x_test, y_test: x (N, 300, 150) float32, frames padded with 0, two bodies of 25 joints side
by side; y (N, classes) one-hot. There are no names: rows follow the subjects (xsub), cameras (xview) or setups (xset)
of the split in ascending order, and within one of them the order of the list of available ids. So the names are
rebuilt from the id grammar, and refused where the counts or the labels do not come out the same.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.datasets import ntu_ids
from mmcl_cache.datasets.dataset import TEST, TRAIN
from mmcl_cache.datasets.import_clips import ImportedClips
from mmcl_cache.errors import SampleError, SourceError
from mmcl_cache.skeletons.bodies import check_joints
from mmcl_cache.store import npy
from mmcl_cache.store.regular import open_regular

FRAMES, BODIES, JOINTS, AXES = 300, 2, 25, 3
WIDTH = BODIES * JOINTS * AXES
_GROUP: dict[str, Callable[[ntu_ids.NtuId], int]] = {
    "xsub": lambda i: i.subject,
    "xview": lambda i: i.camera,
    "xset": lambda i: i.setup,
}


def order_ids(available: Iterable[str], protocol: str, size: int) -> dict[str, list[str]]:
    """The ids of each split in the order of the file's rows.

    Args:
        available: ids with a skeleton.
        protocol: xsub, xview or xset.
        size: 60 or 120.
    """
    group = _GROUP[protocol]
    ordered: dict[str, list[tuple[int, str]]] = {TRAIN: [], TEST: []}
    for sample_id in available:
        numbers = ntu_ids.parse_id(sample_id)
        if numbers is None:
            raise ValueError(f"{sample_id!r} is no NTU id")
        ordered[ntu_ids.split_of(numbers, protocol, size)].append((group(numbers), sample_id))
    return {split: [sample_id for _, sample_id in sorted(members)] for split, members in ordered.items()}


def read_ctrgcn_npz(
    path: Path, protocol: str | None = None, available: Sequence[str] | None = None
) -> ImportedClips:
    """The clips of a CTR-GCN `.npz`.

    A file that was not compressed (CTR-GCN's are not) is mapped, not loaded: 12 GB need no memory.

    Args:
        protocol: xsub, xview or xset; None: told by the number of classes and rows.
        available: the ids with a skeleton that the file was made from; None: all published ones.

    Raises:
        SourceError: no such file, not this format, or names that cannot be rebuilt: the counts of the file differ
            from those of every protocol, or a label is not that of its rebuilt name.
    """
    arrays = _open(path)
    labels = {split: _labels(arrays, split, path) for split in (TRAIN, TEST)}
    classes = arrays[f"y_{TRAIN}"].shape[1]
    if classes not in ntu_ids.PROTOCOLS:
        raise SourceError(f"{path}: {classes} classes; names can be rebuilt for NTU's 60 and 120 alone")
    counts = {split: len(labels[split]) for split in labels}
    ids = available if available is not None else ntu_ids.available_ids(classes)
    protocol, names = _find_protocol(path, protocol, ids, classes, counts)
    for split, members in names.items():
        expected = np.array([int(sample_id[-3:]) - 1 for sample_id in members], dtype=np.int32)
        wrong = np.flatnonzero(labels[split] != expected)
        if wrong.size:
            row = int(wrong[0])
            raise SourceError(
                f"{path}: {wrong.size} of {len(members)} labels of x_{split} are not those of the rebuilt names (row "
                f"{row} is class {labels[split][row] + 1}, expected {members[row]}); its order or protocol is another"
            )
    sample_ids = (*names[TRAIN], *names[TEST])
    middle = len(names[TRAIN])

    def read(place: int) -> NDArray[np.float32]:
        split, row = (TRAIN, place) if place < middle else (TEST, place - middle)
        return unpad(arrays[f"x_{split}"][row], Path(f"{path} (x_{split}, row {row}, {sample_ids[place]})"))

    return ImportedClips(
        source=path,
        sample_ids=sample_ids,
        labels=np.concatenate((labels[TRAIN], labels[TEST])),
        num_classes=classes,
        num_joints=JOINTS,
        num_bodies=BODIES,
        flat=False,
        form="ctrgcn-npz",
        splits={protocol: {sample_id: split for split, members in names.items() for sample_id in members}},
        read=read,
    )


def unpad(row: NDArray[np.floating], path: Path) -> NDArray[np.float32]:
    """(T, 1 or 2, 25, 3) of a padded row (300, 150): without the zeros at its end, and without an absent second body.

    Raises:
        SampleError: all zero, or absurd values.
    """
    frames = np.flatnonzero((row != 0).any(axis=1))
    if frames.size == 0:
        raise SampleError(f"{path}: nothing but zeros; leave the sample out")
    clip = np.array(row[: frames[-1] + 1], dtype=np.float32).reshape(-1, BODIES, JOINTS, AXES)
    check_joints(clip, path)
    return clip if clip[:, 1].any() else np.ascontiguousarray(clip[:, :1])


def pad(clip: NDArray[np.floating], path: Path | str = "clip") -> NDArray[np.float32]:
    """The row (300, 150) of a clip (T, 1 or 2, 25, 3).

    Raises:
        SampleError: more than 300 frames or 2 bodies, or other joints.
    """
    if clip.ndim != 4 or clip.shape[0] > FRAMES or clip.shape[1] > BODIES or clip.shape[2:] != (JOINTS, AXES):
        raise SampleError(
            f"{path}: a clip of shape {clip.shape} does not fit CTR-GCN's rows of {FRAMES} frames, {BODIES} bodies, "
            f"{JOINTS} joints and {AXES} axes"
        )
    row = np.zeros((FRAMES, BODIES, JOINTS, AXES), dtype=np.float32)
    row[: clip.shape[0], : clip.shape[1]] = clip
    return row.reshape(FRAMES, WIDTH)


def write_ctrgcn_npz(
    path: Path,
    names: Mapping[str, Sequence[str]],
    num_classes: int,
    read: Callable[[str], NDArray[np.floating]],
) -> None:
    """Write clips as CTR-GCN's training code reads them, uncompressed, row by row.

    The file is there only when it is whole.

    Args:
        names: "train" and "test" → ids in the order of the rows; `order_ids` gives the published one.
        num_classes: width of the one-hot labels.
        read: id → clip (T, M, 25, 3); called once an id.

    Raises:
        SampleError: a clip that does not fit.
    """
    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for split in (TRAIN, TEST):
            members = names[split]
            with archive.open(f"x_{split}.npy", "w", force_zip64=True) as stream:
                _write_header(stream, (len(members), FRAMES, WIDTH), np.dtype(np.float32))
                for sample_id in members:
                    stream.write(pad(read(sample_id), sample_id).tobytes())
            with archive.open(f"y_{split}.npy", "w", force_zip64=True) as stream:
                _write_header(stream, (len(members), num_classes), np.dtype(np.float64))
                hot = np.zeros((len(members), num_classes))
                hot[np.arange(len(members)), [int(sample_id[-3:]) - 1 for sample_id in members]] = 1
                stream.write(hot.tobytes())
    os.replace(part, path)


def _write_header(stream: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


def _open(path: Path) -> dict[str, NDArray[Any]]:
    wanted = [f"{letter}_{split}" for letter in "xy" for split in (TRAIN, TEST)]
    try:
        with npy.open_archive(path) as archive:
            there = archive.namelist()
            missing = [name for name in wanted if f"{name}.npy" not in there]
            if missing:
                raise SourceError(
                    f"{path}: no CTR-GCN file: lacks {', '.join(missing)}; it holds {', '.join(there[:6])}"
                )
            # Labels first: they are small, and tell whether the rest is worth its memory.
            arrays = {name: _map(path, archive, f"{name}.npy") for name in sorted(wanted, reverse=True)}
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from None
    except npy.ARCHIVE_DAMAGE as error:
        raise SourceError(f"{path}: not a readable .npz file ({error}); get the file again") from None
    for split in (TRAIN, TEST):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.ndim != 3 or x.shape[1:] != (FRAMES, WIDTH) or x.dtype.kind != "f":
            raise SourceError(
                f"{path}: x_{split} is {x.shape} {x.dtype}, expected (N, {FRAMES}, {WIDTH}) float32"
            )
        if y.ndim != 2 or y.dtype.kind not in "fiub" or len(y) != len(x):
            raise SourceError(f"{path}: y_{split} is {y.shape} {y.dtype}, expected ({len(x)}, classes)")
    return arrays


def _map(path: Path, archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    """An array of the archive, mapped where it is stored as it is, else decompressed into memory."""
    info = archive.getinfo(member)
    with npy.open_member(archive, member) as stream:
        if info.compress_type != zipfile.ZIP_STORED:
            return npy.read_array(stream, info.file_size)
        shape, fortran, dtype = npy.read_header(stream)
        header = stream.tell()
    if header + math.prod(shape) * dtype.itemsize > info.file_size:
        raise EOFError(f"{member} is cut short")
    with open_regular(path) as raw:
        raw.seek(info.header_offset)
        # A zip's local header: 30 bytes, the last four of which are the lengths of the name and of the extra field.
        name, extra = struct.unpack("<HH", raw.read(30)[26:30])
    offset = info.header_offset + 30 + name + extra + header
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _labels(arrays: Mapping[str, NDArray[Any]], split: str, path: Path) -> NDArray[np.int32]:
    hot = np.asarray(arrays[f"y_{split}"])
    if not ((hot == 1).sum(axis=1) == 1).all() or not ((hot != 0).sum(axis=1) == 1).all():
        raise SourceError(f"{path}: y_{split} is not one-hot")
    return hot.argmax(axis=1).astype(np.int32)


def _find_protocol(
    path: Path, asked: str | None, ids: Sequence[str], size: int, counts: Mapping[str, int]
) -> tuple[str, dict[str, list[str]]]:
    known = ntu_ids.PROTOCOLS[size]
    if asked is not None and asked not in known:
        raise SourceError(f"{path}: NTU {size} has no protocol {asked!r}; known: {', '.join(known)}")
    rebuilt = {protocol: order_ids(ids, protocol, size) for protocol in ([asked] if asked else known)}
    for protocol, names in rebuilt.items():
        if all(len(names[split]) == counts[split] for split in counts):
            return protocol, names
    expected = {p: f"{len(names[TRAIN]):,}/{len(names[TEST]):,}" for p, names in rebuilt.items()}
    raise SourceError(
        f"{path}: {counts[TRAIN]:,} train and {counts[TEST]:,} test rows, but the id list gives "
        f"{', '.join(f'{count} for {protocol}' for protocol, count in expected.items())}; the names cannot be rebuilt"
    )
