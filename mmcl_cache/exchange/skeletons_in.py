"""A CTR-GCN `.npz` or a pyskl `.pkl` becomes a cache with the field `skeleton`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mmcl_cache.datasets import ntu_ids
from mmcl_cache.datasets.import_clips import ImportedClips, make_dataset
from mmcl_cache.datasets.import_ctrgcn import read_ctrgcn_npz
from mmcl_cache.datasets.import_pyskl import read_pyskl_pkl
from mmcl_cache.errors import SampleError, SourceError, UserError
from mmcl_cache.fields.skeleton import pack_joints, skeleton_columns, skeleton_settings
from mmcl_cache.plan import describe, tabulate_samples
from mmcl_cache.store import LAYOUTS, Cache, Layout, Row, create_cache
from mmcl_cache.store.files import file_sha256
from mmcl_cache.store.lock import hold_lock

# The convention a file's family trains with, by its joints.
NPZ_LAYOUT = "ntu25"
PKL_LAYOUTS = {25: "ntu25-hands", 17: "coco17", 18: "openpose18"}


def import_skeletons(
    path: Path,
    cache: Path,
    *,
    name: str | None = None,
    layout: str | None = None,
    protocol: str | None = None,
    names: Path | None = None,
    shard_size: int = 256,
    say: Callable[[int, int], None] = lambda done, total: None,
) -> Cache:
    """Put the skeletons of one file into a cache; an import that was stopped goes on.

    Args:
        path: `.npz` of CTR-GCN's family (names are rebuilt from the id list), or `.pkl` of pyskl's.
        name: of the data set; by default ntu60 or ntu120 where the ids are theirs, else the file's name.
        layout: a built-in layout; by default the family's.
        protocol: of an `.npz`, where its counts alone do not tell it.
        names: of an `.npz`, the list of ids it was made from, one a line (CTR-GCN's skes_available_name.txt); by
            default the published ones.
        say: called with the clips done and their number.

    Raises:
        UserError: not such a file, names that cannot be rebuilt, another cache in the way.
    """
    clips = _read(path, protocol, names)
    dataset = make_dataset(clips, name or _name(clips), _layout(clips, layout))
    settings = skeleton_settings(dataset) | {"file_sha256": file_sha256(path)}
    opened = create_cache(cache, describe(dataset), tabulate_samples(dataset), shard_size)
    place_of = {sample_id: place for place, sample_id in enumerate(clips.sample_ids)}
    with hold_lock(opened.path):
        field = opened.add_field(
            "skeleton", "default", settings, skeleton_columns(dataset), info={"imported": path.name}
        )
        done = 0
        for k in range(field.num_shards):
            ids = field.shard_ids(k).tolist()
            if field.marker(k) is None:
                field.write_shard(k, [_row(i, clips, place_of[i]) for i in ids])
            done += len(ids)
            say(done, len(place_of))
    return opened


def _read(path: Path, protocol: str | None, names: Path | None) -> ImportedClips:
    if path.suffix == ".npz":
        return read_ctrgcn_npz(path, protocol, _listed_names(names) if names else None)
    if path.suffix in (".pkl", ".pickle"):
        if protocol is not None or names is not None:
            raise UserError(
                "--protocol, --names: a .pkl brings its own splits and ids; leave the options out"
            )
        return read_pyskl_pkl(path)
    raise SourceError(
        f"{path}: neither .npz (CTR-GCN) nor .pkl (pyskl); folders of .npy or .jpg: --field text or strip"
    )


def _listed_names(path: Path) -> list[str]:
    try:
        listed = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as a list of ids ({error})") from None
    strange = [name for name in listed if ntu_ids.parse_id(name) is None]
    if strange or not listed:
        raise SourceError(f"{path}: {strange[0]!r} is no NTU id" if strange else f"{path}: holds no ids")
    return listed


def _name(clips: ImportedClips) -> str:
    is_ntu = ntu_ids.parse_id(clips.sample_ids[0]) is not None
    return f"ntu{clips.num_classes}" if is_ntu and clips.num_classes in (60, 120) else clips.source.stem


def _layout(clips: ImportedClips, asked: str | None) -> Layout:
    name = asked or (NPZ_LAYOUT if clips.form == "ctrgcn-npz" else PKL_LAYOUTS.get(clips.num_joints, ""))
    if name not in LAYOUTS:
        what = f"no layout {name!r}" if name else f"{clips.num_joints} joints tell no layout"
        raise UserError(f"{clips.source}: {what}; say --layout NAME, known: {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def _row(sample_id: str, clips: ImportedClips, place: int) -> Row:
    try:
        return Row(sample_id, "ok", "", pack_joints(clips.read(place)))
    except SampleError as error:
        return Row(sample_id, "failed", str(error).replace(f"{clips.source.parent}/", ""))
