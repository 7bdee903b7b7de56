"""Raw files → bodies as recorded → joints as the model's cache had them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.skeletons.bodies import Bodies
from mmcl_cache.skeletons.denoise import centre_on_first, denoise_ntu
from mmcl_cache.skeletons.json_text import read_json_file
from mmcl_cache.skeletons.matlab import read_kinect_mat
from mmcl_cache.skeletons.ntu import read_ntu_skeleton
from mmcl_cache.skeletons.nw_ucla import read_nw_ucla
from mmcl_cache.skeletons.poses import centre_poses, peek_shape, read_poses
from mmcl_cache.store import UserError

from .model_input import NTU_CLEANING, ModelInput
from .pose_json import parse_poses, read_openpose_folder

SUFFIXES = (".skeleton", ".json", ".mat", ".npy", ".npz")
_LAYOUTS = {  # file formats that have one skeleton only → layouts of it
    ".skeleton": ("ntu25", "ntu25-hands"),
    "NW-UCLA JSON": ("nw-ucla20", "kinect20"),
    "d_skel": ("utd-mhad20",),
    "SW": ("kinect20", "nw-ucla20"),
}


def read_recording(path: Path, model: ModelInput) -> Bodies:
    """The bodies of a file as recorded, told by its name's end.

    Raises:
        UserError: no such file, another kind of file, damage, or a skeleton that is not the model's.
    """
    if path.is_dir():
        return read_openpose_folder(path, model.layout.num_joints)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix == ".skeleton":
        check_layout(path, suffix, model)
        return read_ntu_skeleton(path)
    if suffix == ".mat":
        variable = "SW" if model.skeleton.get("format") == "sysu-mat" else "d_skel"
        check_layout(path, variable, model)
        return read_kinect_mat(path, variable)
    if suffix == ".json":
        return read_json(path, model)
    if suffix in (".npy", ".npz"):
        shape = peek_shape(path)
        if shape is not None and (len(shape) not in (3, 4) or shape[-2] != model.layout.num_joints):
            raise UserError(
                f"{path}: poses of shape {shape}; the model takes (frames, {model.layout.num_joints}, 2 or 3) or "
                f"(bodies, frames, {model.layout.num_joints}, 2 or 3), joints as {model.layout.name}"
            )
        return read_poses(path, num_joints=model.layout.num_joints, dimensions=model.dimensions)
    raise UserError(f"{path}: not a skeleton file; known: {', '.join(SUFFIXES)}, and caches")


def read_json(path: Path, model: ModelInput) -> Bodies:
    """NW-UCLA's JSON, or poses; raises UserError."""
    content = read_json_file(path)
    if isinstance(content, dict) and {"file_name", "skeletons", "label"} <= content.keys():
        check_layout(path, "NW-UCLA JSON", model)
        return read_nw_ucla(path)
    return parse_poses(content, path, model.layout.num_joints)


def check_layout(path: Path, kind: str, model: ModelInput) -> None:
    """UserError where a file's skeleton is not the model's."""
    if model.layout.name not in _LAYOUTS[kind]:
        raise UserError(
            f"{path}: {kind} files hold {_LAYOUTS[kind][0]} skeletons, the model was trained on {model.layout.name} "
            f"({model.layout.num_joints} joints); `mmcl-train transfer` maps layouts"
        )


def clean_joints(bodies: Bodies, model: ModelInput) -> NDArray[np.float32]:
    """Bodies as recorded → joints as the skeleton field of the model's cache has them.

    Returns:
        (T, M, V, C) float32, M as stored: trailing absent bodies are left out.

    Raises:
        UserError: another number of joints, or nobody left.
    """
    if bodies.joints.shape[2] != model.layout.num_joints:
        raise UserError(
            f"{bodies.joints.shape[2]} joints, the model takes {model.layout.num_joints} ({model.layout.name})"
        )
    settings = model.skeleton
    form = settings.get("format")
    if form == NTU_CLEANING or (form != "poses" and model.layout.name.startswith("ntu25")):
        cleaned = denoise_ntu(bodies)
    elif form == "poses":
        cleaned = centre_poses(
            bodies,
            centre=int(settings["centre"]),
            dimensions=model.dimensions,
            num_bodies=int(settings.get("num_bodies", model.num_bodies)),
        )
    else:
        cleaned = keep_frames(bodies)
        if "origin" in settings:
            cleaned = centre_on_first(cleaned, int(settings["origin"]))
    there = cleaned.joints.any(axis=(0, 2, 3))
    if not there.any():
        raise UserError("nobody in any frame")
    return cleaned.joints[:, : int(np.flatnonzero(there)[-1]) + 1]


def keep_frames(bodies: Bodies) -> Bodies:
    """Without the frames that nobody is in; raises UserError where none is left."""
    kept = bodies.present.any(axis=1)
    if kept.all():
        return bodies
    if not kept.any():
        raise UserError("nobody in any frame")
    return replace(bodies, joints=bodies.joints[kept], present=bodies.present[kept], pixels=None)


def take_frames(bodies: Bodies, start: int, stop: int) -> Bodies:
    """Frames [start, stop) of a recording, of the bodies that are in them."""
    present = bodies.present[start:stop]
    # Bodies in order of first appearance within the window, as a recording of the window alone has them.
    seen = np.flatnonzero(present.any(axis=0))
    order = seen[np.argsort(present[:, seen].argmax(axis=0), kind="stable")]
    return Bodies(bodies.joints[start:stop][:, order], None, present[:, order], bodies.fps)
