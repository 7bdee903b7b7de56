"""UTD-MHAD (ICIP 2015): 27 actions, 8 subjects, up to 4 trials; 861 sequences.

`aA_sS_tT_skeleton.mat`, `aA_sS_tT_color.avi` (640×480, 15 frames a second) and the depth, `aA_sS_tT_depth.mat`
(320×240) or the same as a video `aA_sS_tT_depth.mp4`, anywhere below the source. Skeleton and depth run at 30 frames
a second, frame by frame together; colour belongs to them by time, not by frame number, and starts at another moment.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.datasets.dataset import (
    CROP_RESIZE,
    TEST,
    TRAIN,
    Dataset,
    Sample,
    ScanOptions,
    choose_layout,
    choose_video,
    describe_gaps,
)
from mmcl_cache.datasets.tree import add_file, check_source, nothing_found, some_names, walk
from mmcl_cache.errors import SampleError
from mmcl_cache.skeletons.bodies import Bodies
from mmcl_cache.skeletons.denoise import centre_on_first
from mmcl_cache.skeletons.matlab import FPS, read_kinect_mat, read_mat

NAME = "utd-mhad"
VIDEOS = ("auto", "color", "depth", "none")
CLASSES = (
    "right arm swipe to the left",
    "right arm swipe to the right",
    "right hand wave",
    "two hand front clap",
    "right arm throw",
    "cross arms in the chest",
    "basketball shoot",
    "right hand draw x",
    "right hand draw circle (clockwise)",
    "right hand draw circle (counter clockwise)",
    "draw triangle",
    "bowling (right hand)",
    "front boxing",
    "baseball swing from right",
    "tennis right hand forehand swing",
    "arm curl (two arms)",
    "tennis serve",
    "two hand push",
    "right hand knock on door",
    "right hand catch an object",
    "right hand pick up and throw",
    "jogging in place",
    "walking in place",
    "sit to stand",
    "stand to sit",
    "forward lunge (left foot forward)",
    "squat (two arms stretch out)",
)
PUBLISHED = 861
SUBJECTS, TRIALS = range(1, 9), range(1, 5)
ORIGIN = 1
"""Joint index that is put into the origin in frame 0 (shoulder centre), as the published transfer experiments do."""
FOCAL, CENTRE_X, CENTRE_Y = 285.6, 160.0, 120.0
"""Kinect v1's depth camera at 320×240, pixels: checked by eye on the real depth videos."""
LARGEST_DEPTH = 1 << 27
NEAR, FAR = 1000.0, 4000.0
"""Depths in mm that become grey 255 and 20."""
_SHADES = (255.0, 20.0)

_FILE = re.compile(r"(a(\d{1,2})_s(\d)_t(\d))_(skeleton\.mat|color\.avi|depth\.mp4|depth\.mat)", re.ASCII)


def scan_utd_mhad(source: Path, options: ScanOptions) -> Dataset:
    """UTD-MHAD; odd subjects train, even ones test.

    The image source is the same for every sample: with "auto" the one that more samples have, colour where equal.
    With depth images the joints are projected into them, for the person crop; colour has no pixels.

    Raises:
        SourceError: no such folder, nothing of the data set in it, or two files for one id.
        UserError: unknown image source or layout, or a CSV.
    """
    asked = choose_video(NAME, options.video, VIDEOS)
    layout = choose_layout(NAME, options, ("utd-mhad20",))
    check_source(source, NAME)
    files, strange = _find_files(source, options.follow_links)
    video = asked
    if asked == "auto":
        video = "depth" if len(files["depth"]) > len(files["color"]) else "color"
    videos = files.get(video, {})
    kept = sorted(files["skeleton"].keys() | videos.keys())
    if not kept:
        raise nothing_found(source, NAME, "aA_sS_tT_skeleton.mat, aA_sS_tT_color.avi or aA_sS_tT_depth.mp4")
    samples = tuple(_sample(sample_id, videos, files["skeleton"]) for sample_id in kept)
    notes = [f"{len(kept)} of the {PUBLISHED} published samples are here"] if len(kept) < PUBLISHED else []
    if asked == "auto" and files["depth"] and files["color"]:
        notes.append(
            f"images from {video}: {len(files['depth'])} depth and {len(files['color'])} colour files are here; "
            "choose with --video"
        )
    if strange:
        notes.append(
            f"{len(strange)} files left out, no such action, subject or trial: {some_names(strange)}"
        )
    return Dataset(
        name=NAME,
        classes=CLASSES,
        two_person=(),
        layout=layout,
        num_bodies=1,
        channels=3,
        clip=CROP_RESIZE,
        samples=samples,
        splits={"xsub": {s.sample_id: TRAIN if s.subject % 2 else TEST for s in samples}},
        read=read_on_depth if video == "depth" else read_skeleton,
        clean=centre,
        settings={"format": "utd-mhad-mat", "origin": ORIGIN, **_image_settings(video)},
        notes=tuple(notes + describe_gaps(samples, video)),
        video_readers={"_depth.mat": read_depth_mat},
    )


def read_skeleton(path: Path) -> Bodies:
    """`d_skel` of a file; raises SampleError."""
    return read_kinect_mat(path, "d_skel")


def read_on_depth(path: Path) -> Bodies:
    """`d_skel` of a file, with the pixels of the joints in the 320×240 depth images; raises SampleError."""
    bodies = read_skeleton(path)
    x, y, z = np.moveaxis(bodies.joints, -1, 0)
    # A joint on or behind the camera has no pixel.
    away = np.where(z > 0.1, z, np.nan)
    pixels = np.stack((CENTRE_X + FOCAL * x / away, CENTRE_Y - FOCAL * y / away), axis=-1)
    return replace(bodies, pixels=pixels.astype(np.float32))


def centre(bodies: Bodies) -> Bodies:
    """Moved so that the shoulder centre of frame 0 is the origin."""
    return centre_on_first(bodies, ORIGIN)


def read_depth_mat(path: Path) -> tuple[NDArray[np.uint8], float]:
    """The depth images of a `*_depth.mat` as grey, near is bright.

    Returns:
        (T, 240, 320) uint8: 1 m and nearer 255, 4 m and farther 20, linear between, no reading 0; frames a second.

    Raises:
        SampleError: no such file, damaged, or not (240, 320, T).
    """
    depth = read_mat(path, "d_depth", LARGEST_DEPTH)
    if depth.ndim == 2:
        depth = depth[..., None]
    if depth.ndim != 3 or depth.shape[:2] != (240, 320) or depth.shape[2] == 0:
        raise SampleError(f"{path}: d_depth of shape {depth.shape}, expected (240, 320, frames)")
    shades = np.empty((depth.shape[2], *depth.shape[:2]), dtype=np.uint8)
    # One image at a time: all of them as float64 would take many times what the file has.
    for t, shade in enumerate(shades):
        millimetres = depth[..., t].astype(np.float32)
        grey = np.interp(millimetres, (NEAR, FAR), _SHADES)
        shade[:] = np.where(millimetres > 0, np.rint(grey), 0)
    return shades, FPS


def _image_settings(video: str) -> dict[str, object]:
    settings: dict[str, object] = {"images": video}
    if video == "depth":
        settings["pixels"] = {"focal": FOCAL, "centre": [CENTRE_X, CENTRE_Y]}
    return settings


def _find_files(source: Path, follow_links: bool) -> tuple[dict[str, dict[str, Path]], list[str]]:
    """Kind of file → id → path, and the names whose numbers are out of range."""
    files: dict[str, dict[str, Path]] = {"skeleton": {}, "color": {}, "depth": {}}
    strange: list[str] = []
    for entry in walk(source, follow_links=follow_links):
        match = _FILE.fullmatch(entry.name)
        if not match:
            continue
        sample_id, action, subject, trial, end = match.groups()
        if 1 <= int(action) <= len(CLASSES) and int(subject) in SUBJECTS and int(trial) in TRIALS:
            kind = end.partition(".")[0]
            add_file(files[kind], sample_id, entry.path, kind)
        else:
            strange.append(entry.name)
    return files, strange


def _sample(sample_id: str, videos: dict[str, Path], skeletons: dict[str, Path]) -> Sample:
    action, subject, _ = (int(part[1:]) for part in sample_id.split("_"))
    return Sample(
        sample_id=sample_id,
        label=action - 1,
        subject=subject,
        video=videos.get(sample_id),
        skeleton=skeletons.get(sample_id),
    )
