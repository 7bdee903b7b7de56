"""Skeletons that somebody else prepared: what every import gives, whatever the file was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.datasets import ntu_ids
from mmcl_cache.datasets.dataset import CROP_RESIZE, Dataset, Sample, every_body
from mmcl_cache.errors import SampleError, SourceError
from mmcl_cache.skeletons.bodies import Bodies
from mmcl_cache.store import Layout


@dataclass(frozen=True)
class ImportedClips:
    """The clips of one file, which stays open for reading them one by one.

    Args:
        source: the file.
        sample_ids: in the order of the file, unique.
        labels: (N,) int32, 0-based.
        num_classes: at least the largest label + 1.
        num_joints, num_bodies: V, and the most bodies of any clip.
        flat: the three values of a joint are x, y in pixels and a score, not metres.
        form: "ctrgcn-npz" or "pyskl-pkl".
        splits: protocol → sample id → "train" or "test".
        read: place in `sample_ids` → (T, M, V, C) float32, without padding and absent bodies; raises SampleError.
    """

    source: Path
    sample_ids: tuple[str, ...]
    labels: NDArray[np.int32]
    num_classes: int
    num_joints: int
    num_bodies: int
    flat: bool
    form: str
    splits: Mapping[str, Mapping[str, str]]
    read: Callable[[int], NDArray[np.float32]]

    def order(self) -> list[int]:
        """The places in the order of the sorted ids, as a cache wants them."""
        return sorted(range(len(self.sample_ids)), key=self.sample_ids.__getitem__)


def make_dataset(clips: ImportedClips, name: str, layout: Layout) -> Dataset:
    """The data set that a cache of imported clips describes; its samples have no files, the clips are read from theirs.

    Where every id is NTU's, subjects, cameras, setups and the names of the classes come from the ids.

    Args:
        name: what the cache is to call it; ntu60 or ntu120 for those.
        layout: of the joints; CTR-GCN's files have ntu25, pyskl's NTU files ntu25-hands.

    Raises:
        SourceError: the layout has another number of joints.
    """
    if layout.num_joints != clips.num_joints:
        raise SourceError(
            f"{clips.source}: {clips.num_joints} joints, but layout {layout.name} has {layout.num_joints}; "
            "name another with --layout"
        )
    numbers = [ntu_ids.parse_id(sample_id) for sample_id in clips.sample_ids]
    is_ntu = clips.num_classes in ntu_ids.PROTOCOLS and all(
        ident is not None and ident.action - 1 == label
        for ident, label in zip(numbers, clips.labels, strict=True)
    )
    samples = []
    for place in clips.order():
        sample, ident = Sample(clips.sample_ids[place], int(clips.labels[place])), numbers[place]
        if ident is not None:
            sample = replace(sample, subject=ident.subject, camera=ident.camera, setup=ident.setup)
        samples.append(sample)
    classes = ntu_ids.class_names(clips.num_classes) if is_ntu else tuple(map(str, range(clips.num_classes)))
    return Dataset(
        name=name,
        classes=classes,
        two_person=ntu_ids.two_person_labels(clips.num_classes) if is_ntu else (),
        layout=layout,
        num_bodies=clips.num_bodies,
        channels=3,
        clip=CROP_RESIZE,
        samples=tuple(samples),
        splits=clips.splits,
        read=refuse_to_read,
        clean=every_body,
        settings={"format": clips.form},
        unit="px" if clips.flat else "m",
    )


def refuse_to_read(path: Path) -> Bodies:
    """Imported clips have no file of their own; raises SampleError."""
    raise SampleError(f"{path}: the sample was imported; it has no skeleton file to read again")


def check_ids(source: Path, sample_ids: Sequence[str]) -> None:
    """Raises SourceError where an id is there twice; names it."""
    if len(set(sample_ids)) == len(sample_ids):
        return
    seen: set[str] = set()
    for sample_id in sample_ids:
        if sample_id in seen:
            raise SourceError(f"{source}: sample id {sample_id!r} is there twice")
        seen.add(sample_id)
