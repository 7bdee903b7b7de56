"""Northwestern-UCLA (CVPR 2014): 10 actions, 10 subjects, 3 cameras; skeletons as CTR-GCN's authors hand them out.

`aAA_sSS_eEE_vVV.json` anywhere below the source; colour either as folders of JPEG frames
(`multiview_action/view_V/aAA_sSS_eEE/frame_*_rgb.jpg`) or as `multiview_action_videos/aAA/vVV_sSS_eEE.avi`.
"""

from __future__ import annotations

import re
from pathlib import Path

from mmcl_cache.datasets.dataset import (
    TEST,
    TRAIN,
    Dataset,
    Sample,
    ScanOptions,
    choose_layout,
    choose_video,
    describe_gaps,
    every_body,
)
from mmcl_cache.datasets.tree import add_file, check_source, nothing_found, some_names, walk
from mmcl_cache.skeletons.nw_ucla import LABELS, read_nw_ucla

NAME = "nw-ucla"
VIDEOS = ("auto", "color", "none")
CLASSES = (
    "pick up with one hand",
    "pick up with two hands",
    "drop trash",
    "walk around",
    "sit down",
    "stand up",
    "donning",
    "doffing",
    "throw",
    "carry",
)
PUBLISHED = 1484
TRAIN_VIEWS = frozenset({1, 2})
CLIP = {"transform": "nw-ucla", "length": 52}
"""Centred on joint index 1 of frame 0; in training turned by whole degrees in ±60 about x and y and scaled by
U(0.5, 1.5); every axis scaled to [-1, 1] over the sequence; 52 frames: sorted random ones with repeats in training,
evenly spread ones at test (CTR-GCN)."""

_SKELETON = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)\.json", re.ASCII)
_FRAMES = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)", re.ASCII)
_VIEW = re.compile(r"view_(\d)", re.ASCII)
_ACTION = re.compile(r"a(\d\d)", re.ASCII)
_VIDEO = re.compile(r"v(\d\d)_s(\d\d)_e(\d\d)\.avi", re.ASCII)


def scan_nw_ucla(source: Path, options: ScanOptions) -> Dataset:
    """Northwestern-UCLA; the skeleton field stores the joints as recorded, the clip transform does the rest.

    Raises:
        SourceError: no such folder, nothing of the data set in it, or two files for one id.
        UserError: unknown image source or layout, or a CSV.
    """
    video = choose_video(NAME, options.video, VIDEOS)
    layout = choose_layout(NAME, options, ("nw-ucla20",))
    check_source(source, NAME)
    skeletons, videos, strange = _find_files(source, options.follow_links)
    if video == "none":
        videos = {}
    kept = sorted(skeletons.keys() | videos.keys())
    if not kept:
        raise nothing_found(source, NAME, "aAA_sSS_eEE_vVV.json files and view_V or aAA folders of colour")
    samples = tuple(_sample(sample_id, videos, skeletons) for sample_id in kept)
    notes = (
        [f"{len(kept):,} of the {PUBLISHED:,} published samples are here"] if len(kept) < PUBLISHED else []
    )
    if strange:
        notes.append(
            f"{len(strange)} files or folders left out, their action is none of the data set's: {some_names(strange)}"
        )
    return Dataset(
        name=NAME,
        classes=CLASSES,
        two_person=(),
        layout=layout,
        num_bodies=1,
        channels=3,
        clip=CLIP,
        samples=samples,
        splits={"xview": {s.sample_id: TRAIN if s.camera in TRAIN_VIEWS else TEST for s in samples}},
        read=read_nw_ucla,
        clean=every_body,
        settings={"format": "nw-ucla-json"},
        notes=tuple(notes + describe_gaps(samples, video)),
    )


def _find_files(source: Path, follow_links: bool) -> tuple[dict[str, Path], dict[str, Path], list[str]]:
    skeletons: dict[str, Path] = {}
    videos: dict[str, Path] = {}
    strange: list[str] = []
    for entry in walk(source, lambda name: _FRAMES.fullmatch(name) is not None, follow_links=follow_links):
        folder = Path(entry.path).parent.name
        if match := _SKELETON.fullmatch(entry.name):
            numbers, into, what = match.groups(), skeletons, "skeleton"
        elif (match := _VIDEO.fullmatch(entry.name)) and (action := _ACTION.fullmatch(folder)):
            view, subject, episode = match.groups()
            numbers, into, what = (action[1], subject, episode, view), videos, "video"
        elif (match := _FRAMES.fullmatch(entry.name)) and (at := _VIEW.fullmatch(folder)) and entry.is_dir():
            numbers, into, what = (*match.groups(), f"0{at[1]}"), videos, "video"
        else:
            continue
        action_number, subject, episode, view = numbers
        if int(action_number) in LABELS and 1 <= int(view) <= 3:
            add_file(into, f"a{action_number}_s{subject}_e{episode}_v{view}", entry.path, what)
        else:
            strange.append(entry.name)
    return skeletons, videos, strange


def _sample(sample_id: str, videos: dict[str, Path], skeletons: dict[str, Path]) -> Sample:
    return Sample(
        sample_id=sample_id,
        label=LABELS[int(sample_id[1:3])] - 1,
        subject=int(sample_id[5:7]),
        camera=int(sample_id[13:15]),
        video=videos.get(sample_id),
        skeleton=skeletons.get(sample_id),
    )
