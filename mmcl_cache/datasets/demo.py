"""The demo: generated clips in NTU's formats (`<id>_rgb.avi`, `<id>.skeleton`), read as NTU's are.

Where the source does not exist yet it is generated (about a minute). The ids follow NTU's grammar, but the classes are
the demo's own, and so are the splits: `xsub` tests subjects 3, 6, 9, 12; `xview` tests camera 1, as NTU does.
"""

from __future__ import annotations

import os
from pathlib import Path

from mmcl_cache.datasets.dataset import (
    CROP_RESIZE,
    Dataset,
    Sample,
    ScanOptions,
    choose_video,
    describe_gaps,
)
from mmcl_cache.demo.actions import CLASSES, TWO_PERSON
from mmcl_cache.demo.clips import TEST_SUBJECTS, ClipId, plan_clips
from mmcl_cache.demo.generate import SKELETONS, VIDEOS, generate_demo, read_settings
from mmcl_cache.errors import SourceError
from mmcl_cache.skeletons import denoise
from mmcl_cache.skeletons.ntu import read_ntu_skeleton
from mmcl_cache.store import LAYOUTS
from mmcl_cache.terminal.board import StageProgress

TEST_CAMERA = 1


def scan_demo(source: Path, options: ScanOptions) -> Dataset:
    """The clips of the demo in `source`, generated first where it is absent or unfinished.

    Raises:
        SourceError: `source` holds something else, or a demo of another version.
        UserError: unknown image source.
    """
    video = choose_video("demo", options.video, ("auto", "color", "none"))
    settings = read_settings(source)
    if settings is None:
        with StageProgress("generate", "clips") as say:
            generate_demo(source, workers=os.cpu_count() or 1, progress=say)
        settings = read_settings(source) or {}
    if settings.get("classes") != list(CLASSES) or not isinstance(settings.get("clips"), int):
        raise SourceError(
            f"{source}: demo.json is of another version; delete the folder, it will be generated again"
        )
    ids = plan_clips(settings["clips"])
    samples = tuple(_find_sample(source, clip, video) for clip in ids)
    if all(sample.skeleton is None for sample in samples):
        raise SourceError(
            f"{source}: demo.json is there but no clip is; delete the folder, it will be generated again"
        )
    return Dataset(
        name="demo",
        classes=CLASSES,
        two_person=TWO_PERSON,
        layout=LAYOUTS["ntu25"],
        num_bodies=2,
        channels=3,
        clip=CROP_RESIZE,
        samples=samples,
        splits={
            "xsub": {str(clip): "test" if clip.subject in TEST_SUBJECTS else "train" for clip in ids},
            "xview": {str(clip): "test" if clip.camera == TEST_CAMERA else "train" for clip in ids},
        },
        read=read_ntu_skeleton,
        clean=denoise.denoise_ntu,
        people=denoise.select_people,
        settings={
            "format": "ntu-skeleton",
            **denoise.SETTINGS,
            "demo": {key: settings.get(key) for key in ("version", "clips", "seed")},
        },
        notes=tuple(describe_gaps(samples, video)),
    )


def _find_sample(source: Path, clip: ClipId, video: str) -> Sample:
    avi, skeleton = source / VIDEOS / f"{clip}_rgb.avi", source / SKELETONS / f"{clip}.skeleton"
    return Sample(
        sample_id=str(clip),
        label=clip.label,
        subject=clip.subject,
        camera=clip.camera,
        setup=clip.setup,
        video=avi if video != "none" and avi.is_file() else None,
        skeleton=skeleton if skeleton.is_file() else None,
    )
