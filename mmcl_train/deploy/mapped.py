"""A target cache seen through a map: its joints in the model's layout, in memory or as a cache of its own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.store import Cache, Column, Row, UserError, create_cache

from .clip import make_clip
from .joint_map import map_joints
from .model_input import ModelInput


@dataclass(frozen=True)
class MappedClips:
    """Clips of the target as the model is shown them.

    Args:
        sample_ids: (N,) of the samples with a usable skeleton.
        labels: (N,) of the target.
        clips: (N, C, T, V, M) float32; a second body is 0.
        left_out: sample id → why.
    """

    sample_ids: NDArray[np.str_]
    labels: NDArray[np.int32]
    clips: NDArray[np.float32]
    left_out: dict[str, str]


def load_clips(
    cache: Cache, sample_ids: NDArray[np.str_], matrix: NDArray[np.float32], model: ModelInput, variant: str
) -> MappedClips:
    """Map and cut the first body of these samples.

    Raises:
        UserError: no samples, none with a usable skeleton, or a field that is not there.
    """
    if not len(sample_ids):
        raise UserError(f"{cache.path}: no sample to evaluate on")
    rows = cache.field("skeleton", variant).load(sample_ids)
    kept, clips, left_out = [], [], {}
    for n, sample_id in enumerate(rows.sample_ids.tolist()):
        frames, bodies = int(rows["frames"][n]), int(rows["bodies"][n])
        if rows.status[n] != "ok" or not frames * bodies:
            left_out[sample_id] = rows.reasons[n] or str(rows.status[n])
            continue
        joints = rows["joints"][n].reshape(frames, bodies, *rows["joints"].flat.shape[1:])[:, :1]
        clips.append(make_clip(map_joints(joints, matrix, model.layout), model))
        kept.append(n)
    if not kept:
        raise UserError(f"{cache.path}: none of {len(sample_ids)} samples has a usable skeleton")
    ids = np.asarray(sample_ids)[kept]
    labels = cache.samples.labels[cache.samples.positions(ids)]
    return MappedClips(ids, labels, np.stack(clips), left_out)


def write_mapped_cache(
    cache: Cache, path: Path, matrix: NDArray[np.float32], model: ModelInput, variant: str
) -> Cache:
    """The skeleton field of a cache in the model's layout, as a cache to train from; finished shards are kept."""
    description = dataclasses.replace(
        cache.description,
        layout=model.layout,
        num_bodies=model.num_bodies,
        clip={"transform": model.transform, "length": model.length},
    )
    mapped = create_cache(path, description, cache.samples, cache.shard_size)
    source = cache.field("skeleton", variant)
    columns = (
        Column("joints", "float32", (model.layout.num_joints, model.joint_channels), True, "m"),
        Column("frames", "int32"),
        Column("bodies", "int32"),
    )
    settings = {"mapped_from": source.fingerprint, "matrix": np.round(matrix, 6).tolist()}
    field = mapped.add_field("skeleton", "default", settings, columns)
    for shard in field.pending():
        field.write_shard(shard, [_map_row(row, matrix, model) for row in source.read_shard(shard).rows()])
    return mapped


def _map_row(row: Row, matrix: NDArray[np.float32], model: ModelInput) -> Row:
    if row.status != "ok":
        return row
    joints, frames, bodies = row.values["joints"], int(row.values["frames"]), int(row.values["bodies"])
    clip = np.asarray(joints).reshape(frames, bodies, *np.shape(joints)[1:])
    mapped = map_joints(clip, matrix, model.layout)
    values = {**row.values, "joints": mapped.reshape(-1, *mapped.shape[2:])}
    return Row(row.sample_id, row.status, row.reason, values)
