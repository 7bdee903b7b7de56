"""NTU RGB+D 60 and 120: `<id>.skeleton` and `<id>_rgb.avi`, in one folder tree or in several side by side.

The files are looked for by name anywhere below the source, so the trees as distributed (`nturgb+d_skeletons`,
`nturgb+d_rgb`, the second half's `nturgb+d_skeletons_s018_to_s032`, …) work as they are, merged or not.
"""

from __future__ import annotations

from pathlib import Path

from mmcl_cache.datasets import ntu_ids
from mmcl_cache.datasets.dataset import (
    CROP_RESIZE,
    Dataset,
    Sample,
    ScanOptions,
    choose_layout,
    choose_video,
    describe_gaps,
)
from mmcl_cache.datasets.ntu_ids import NtuId
from mmcl_cache.datasets.tree import (
    VIDEO_SUFFIXES,
    add_file,
    check_source,
    nothing_found,
    some_names,
    walk,
)
from mmcl_cache.errors import SourceError
from mmcl_cache.skeletons import denoise
from mmcl_cache.skeletons.ntu import read_ntu_skeleton

VIDEOS = ("auto", "color", "none")
_SKELETON = ".skeleton"
_VIDEO = "_rgb"


def scan_ntu60(source: Path, options: ScanOptions) -> Dataset:
    """NTU RGB+D 60: setups 1–17, actions 1–60; protocols xsub and xview."""
    return _scan(source, options, 60)


def scan_ntu120(source: Path, options: ScanOptions) -> Dataset:
    """NTU RGB+D 120: setups 1–32, actions 1–120; protocols xsub and xset."""
    return _scan(source, options, 120)


def _scan(source: Path, options: ScanOptions, size: int) -> Dataset:
    """The samples are the recorded ids of which a skeleton or a video is there, less the published missing list.

    Raises:
        SourceError: no such folder, nothing of the data set in it, or two files for one id.
        UserError: unknown image source or layout, or a CSV.
    """
    name = f"ntu{size}"
    video = choose_video(name, options.video, VIDEOS)
    layout = choose_layout(name, options, ("ntu25", "ntu25-hands"))
    check_source(source, name)
    skeletons, videos, strange = find_files(source, options.follow_links)
    if video == "none":
        videos = {}
    found = skeletons.keys() | videos.keys()
    # Taken apart once: with 114,480 ids that is a good part of a scan.
    numbers = {i: _numbers(i) for i in found}
    recorded = {i for i, ident in numbers.items() if ntu_ids.is_recorded(ident, size)}
    kept = sorted(recorded - ntu_ids.missing_ids())
    if not kept and found:
        what = some_names(list(found))
        raise SourceError(
            f"{name}: the {len(found)} ids in {source} are none of its samples: {what}; is it the right data set?"
        )
    if not kept:
        raise nothing_found(
            source, name, "<id>.skeleton and <id>_rgb.avi with ids such as S001C001P001R001A001"
        )
    samples = tuple(_sample(i, numbers[i], videos, skeletons) for i in kept)
    splits = {
        protocol: {i: ntu_ids.split_of(numbers[i], protocol, size) for i in kept}
        for protocol in ntu_ids.PROTOCOLS[size]
    }
    notes = _describe(found, recorded, strange, size)
    return Dataset(
        name=name,
        classes=ntu_ids.class_names(size),
        two_person=ntu_ids.two_person_labels(size),
        layout=layout,
        num_bodies=2,
        channels=3,
        clip=CROP_RESIZE,
        samples=samples,
        splits=splits,
        read=read_ntu_skeleton,
        clean=denoise.denoise_ntu,
        people=denoise.select_people,
        settings={"format": "ntu-skeleton", **denoise.SETTINGS},
        notes=tuple(notes + describe_gaps(samples, video)),
    )


def find_files(
    source: Path, follow_links: bool = False
) -> tuple[dict[str, Path], dict[str, Path], list[str]]:
    """Skeletons and colour videos below `source` by id, and the names of such files whose id is none.

    Raises:
        SourceError: two files for one id.
    """
    skeletons: dict[str, Path] = {}
    videos: dict[str, Path] = {}
    strange: list[str] = []
    for entry in walk(source, stop=_is_other_modality, follow_links=follow_links):
        stem, dot, suffix = entry.name.rpartition(".")
        if dot + suffix == _SKELETON:
            into, what = skeletons, "skeleton"
        elif stem.endswith(_VIDEO) and dot + suffix.lower() in VIDEO_SUFFIXES:
            into, what, stem = videos, "video", stem[: -len(_VIDEO)]
        else:
            continue
        if ntu_ids.parse_id(stem) is None:
            strange.append(entry.name)
        else:
            add_file(into, stem, entry.path, what)
    return skeletons, videos, strange


def _is_other_modality(folder: str) -> bool:
    """Depth maps and infrared lie in 57,000 folders of images, or beside them: not worth a listing each."""
    return ntu_ids.parse_id(folder[:20]) is not None or folder.startswith(("nturgb+d_depth", "nturgb+d_ir"))


def _numbers(sample_id: str) -> NtuId:
    numbers = ntu_ids.parse_id(sample_id)
    if numbers is None:
        raise ValueError(f"{sample_id!r} is no NTU id")
    return numbers


def _sample(sample_id: str, numbers: NtuId, videos: dict[str, Path], skeletons: dict[str, Path]) -> Sample:
    return Sample(
        sample_id=sample_id,
        label=numbers.action - 1,
        subject=numbers.subject,
        camera=numbers.camera,
        setup=numbers.setup,
        video=videos.get(sample_id),
        skeleton=skeletons.get(sample_id),
    )


def _describe(found: set[str], recorded: set[str], strange: list[str], size: int) -> list[str]:
    """Notes on what was found beside the samples, and how much of the whole they are."""
    missing = recorded & ntu_ids.missing_ids()
    other_half = {i for i in found - recorded if size == 60 and _numbers(i).setup > ntu_ids.LAST_SETUP[60]}
    unknown = found - recorded - other_half
    kept, published = len(recorded - missing), ntu_ids.AVAILABLE[size]
    notes = []
    if kept < published:
        notes.append(f"{kept:,} of the {published:,} published samples are here")
    if missing:
        notes.append(
            f"{len(missing)} ids on the published list of missing skeletons left out: {some_names(list(missing))}"
        )
    if other_half:
        notes.append(f"{len(other_half)} ids of setups 18 to 32 left out: they belong to ntu120")
    if unknown:
        notes.append(
            f"{len(unknown)} ids left out, never recorded by the data set's authors: {some_names(list(unknown))}"
        )
    if strange:
        notes.append(f"{len(strange)} files left out, their names hold no NTU id: {some_names(strange)}")
    return notes
