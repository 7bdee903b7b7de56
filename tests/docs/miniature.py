"""Data sets of a dozen clips each, in the formats and under the names that the pages take for granted."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from scipy.io import savemat

from mmcl_cache.datasets import ntu_ids
from mmcl_cache.demo.generate import SKELETONS, VIDEOS, generate_demo

FRAMES = 24
NTU_CLIPS = ((60, "xview"), (120, "xset"))


def make_demo(root: Path) -> Path:
    generate_demo(root, clips=12, seed=3, workers=1)
    return root


def make_ntu(root: Path, demo: Path, size: int) -> Path:
    """Clips of the demo under ids of NTU: in every protocol some train and some test."""
    clips = sorted((demo / SKELETONS).glob("*.skeleton"))
    for folder in (SKELETONS, VIDEOS):
        (root / folder).mkdir(parents=True)
    for n, sample_id in enumerate(choose_ids(size)):
        skeleton = clips[n % len(clips)]
        os.link(skeleton, root / SKELETONS / f"{sample_id}.skeleton")
        os.link(demo / VIDEOS / f"{skeleton.stem}_rgb.avi", root / VIDEOS / f"{sample_id}_rgb.avi")
    return root


def choose_ids(size: int) -> list[str]:
    """Three ids of three subjects for each pair of splits of the data set's two protocols."""
    other = dict(NTU_CLIPS)[size]
    chosen: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for sample_id in ntu_ids.available_ids(size):
        ident = ntu_ids.parse_id(sample_id)
        assert ident is not None
        found = chosen[ntu_ids.split_of(ident, "xsub", size), ntu_ids.split_of(ident, other, size)]
        # Another class for each, so that a model meets several.
        if len(found) < 3 and ident.subject not in found and ident.action % 7 == len(found):
            found[ident.subject] = sample_id
    return sorted(sample_id for found in chosen.values() for sample_id in found.values())


def make_nw_ucla(root: Path) -> Path:
    rng = np.random.default_rng(0)
    (root / "all_sqe").mkdir(parents=True)
    for action in (1, 2, 8):
        for view in (1, 2, 3):
            for subject in (1, 2):
                name = f"a{action:02}_s{subject:02}_e00"
                joints = walk_about(rng, 20)
                content = {
                    "file_name": f"{name}_v{view:02}",
                    "skeletons": joints.tolist(),
                    "label": min(action, 7),
                }
                (root / "all_sqe" / f"{name}_v{view:02}.json").write_text(json.dumps(content))
                images = root / "multiview_action" / f"view_{view}" / name
                images.mkdir(parents=True)
                for t in range(6):
                    Image.new("RGB", (64, 48), (20 * t, 90, 120)).save(images / f"frame_{t}_rgb.jpg")
    return root


def make_utd_mhad(root: Path) -> Path:
    """Classes of the transfer's map among others; of each, four subjects."""
    rng = np.random.default_rng(1)
    for folder in ("Skeleton", "Depth", "RGB"):
        (root / folder).mkdir(parents=True)
    for action in (1, 3, 6):
        for subject in (1, 2, 3, 4):
            name = f"a{action}_s{subject}_t1"
            joints = walk_about(rng, 20) + np.array([0.0, 0.0, 2.5])
            savemat(root / "Skeleton" / f"{name}_skeleton.mat", {"d_skel": np.moveaxis(joints, 0, -1)})
            write_video(root / "RGB" / f"{name}_color.avi", rng, 0.5)
            depth = rng.integers(1500, 3500, (240, 320, FRAMES), dtype=np.uint16)
            savemat(root / "Depth" / f"{name}_depth.mat", {"d_depth": depth})
    return root


def make_sysu(root: Path) -> Path:
    rng = np.random.default_rng(2)
    for subject in ("anna", "bert", "carl", "dora"):
        for activity in (1, 3, 7):
            folder = root / "3DvideoNorm" / subject / f"video{activity}"
            folder.mkdir(parents=True)
            joints = walk_about(rng, 20) + np.array([0.0, 0.0, 2.5])
            savemat(folder / "sklWorld.mat", {"SW": np.moveaxis(joints, 0, -1)})
            write_video(folder / "color.avi", rng, 0.5)
    return root


def make_own(root: Path) -> Path:
    """Videos and 2-D poses of 17 joints with a score, in two class folders."""
    rng = np.random.default_rng(3)
    for n in range(24):
        label, speed = (("wave", 0.9), ("drink", 0.2))[n % 2]
        path = root / label / f"clip{n:02d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        middle = write_video(path, rng, speed)
        joints = middle[:, None] + rng.uniform(-15, 15, (1, 17, 2)) + rng.normal(0, 0.5, (FRAMES, 17, 2))
        scored = np.concatenate([joints, np.ones((FRAMES, 17, 1))], axis=-1)
        np.save(path.with_suffix(".npy"), scored.astype(np.float32))
    return root


def walk_about(rng: np.random.Generator, joints: int) -> np.ndarray:
    """(T, V, 3) metres: a figure whose joints wander a little."""
    still = rng.normal(0, 0.3, (1, joints, 3))
    return still + np.cumsum(rng.normal(0, 0.01, (FRAMES, joints, 3)), axis=0)


def write_video(path: Path, rng: np.random.Generator, speed: float) -> np.ndarray:
    """128 × 96 pixels, a bright square that swings from side to side; its middle (T, 2)."""
    time = np.arange(FRAMES)
    middle = np.stack([60 + 30 * np.sin(speed * time), np.full(FRAMES, 45.0)], axis=-1)
    with av.open(str(path), "w") as video:
        stream = video.add_stream("mpeg4", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for x, y in middle.astype(int):
            image = np.full((96, 128, 3), rng.integers(20, 40), dtype=np.uint8)
            image[max(y - 15, 0) : y + 15, max(x - 15, 0) : x + 15] = 220
            for packet in stream.encode(av.VideoFrame.from_ndarray(image)):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)
    return middle


def copy_tree(source: Path, target: Path) -> Path:
    """A copy whose files are the same files: nothing in the repository writes into one."""
    return Path(shutil.copytree(source, target, copy_function=os.link))


def list_camera_frames() -> str:
    """Standard input of a command behind a pipe: frames of one person as a camera's program prints them."""
    joints = walk_about(np.random.default_rng(0), 25).repeat(4, axis=0)
    return "".join(json.dumps(np.round(frame, 4).tolist()) + "\n" for frame in joints)
