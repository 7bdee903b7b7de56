"""Every setting that changes bytes is in a fingerprint; one that is new must be put there, or said to change none."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcl_cache.config import BuildConfig, StripSettings
from mmcl_cache.datasets import DATASETS, ScanOptions
from mmcl_cache.engines.job import open_job
from mmcl_cache.plan import scan_dataset
from mmcl_cache.store import cache_fingerprint
from tests.mmcl_cache.encoders.test_detector import make_detector
from tests.mmcl_cache.engines.conftest import save_models

# Setting → another value, and what of a cache must then have another fingerprint.
BUILD: dict[str, tuple[Any, str]] = {
    "limit": (3, "plan"),
    "shard_size": (5, "plan"),
    "vqa": ("{other}/vqa", "text"),
    "cnn": ("{other}/cnn", "rgb"),
    "questions": (("describe the person please .",), "text"),
    "choices": (("yes", "tool"), "text"),
    "batch_size": (4, "text"),
    "dtype": ("bfloat16", "rgb"),
    "image_size": (64, "text"),
    "enc_token": (True, "text"),
    "max_tokens": (7, "text"),
    "compile_vision": (True, "text"),
}
STRIP: dict[str, Any] = {
    "tiles": 4,
    "tile_width": 90,
    "tile_height": 400,
    "sampling": "centre",
    "crop": "none",
    "crop_scope": "frame",
    "slack": 0.2,
    "filter": "bicubic",
    "quality": 90,
}
NO_BYTES = {
    "source": "where the files are",
    "cache": "where the cache is",
    "fields": "which fields are made",
    "variants": "what they are called",
    "workers": "who decodes",
    "deadline": "how long a sample may take",
    "decoder": "all give the same frames",
    "device": "kept in info; the data type is in the fingerprint",
    "model_threads": "batches are cut by row number",
    "processes": "shards are shared, not altered",
}
ELSEWHERE = {"dataset", "scan", "strip", "detector"}  # tests of their own below


@pytest.fixture(scope="module")
def config(generated_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildConfig:
    root = tmp_path_factory.mktemp("settings")
    vqa, cnn = save_models(root / "models")
    shutil.copytree(root / "models", root / "other")
    for name in ("vqa", "cnn"):
        weights = root / "other" / name / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    return BuildConfig(
        "demo", generated_clips, root / "cache", vqa=str(vqa), cnn=str(cnn), dtype="float32", max_tokens=6
    )


def fingerprints(config: BuildConfig, folder: Path) -> dict[str, str]:
    """Of the plan and of every field that a build with these settings would make."""
    job = open_job(replace(config, cache=folder / "cache"), scan_dataset(config))
    plan = f"{cache_fingerprint(job.cache, [])} in shards of {job.cache.shard_size}"
    return {"plan": plan} | {name: field.fingerprint for name, field in job.fields.items()}


def test_every_setting_is_in_a_fingerprint_or_said_to_change_no_byte() -> None:
    names = {f.name for f in dataclasses.fields(BuildConfig)}
    assert names == BUILD.keys() | NO_BYTES.keys() | ELSEWHERE
    assert {f.name for f in dataclasses.fields(StripSettings)} == STRIP.keys()
    assert {f.name for f in dataclasses.fields(ScanOptions)} == {"video", "layout", "csv", "follow_links"}


@pytest.mark.parametrize("name", BUILD)
def test_another_setting_is_another_fingerprint(
    config: BuildConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(
        torch, "compile", lambda module, **options: module
    )  # its settings count, not its work
    value, changed = BUILD[name]
    if isinstance(value, str):
        value = value.format(other=Path(config.vqa).parents[1] / "other")
    before = fingerprints(config, tmp_path / "before")
    after = fingerprints(replace(config, **{name: value}), tmp_path / "after")
    assert before[changed] != after[changed]


@pytest.mark.parametrize("name", STRIP)
def test_another_strip_is_another_fingerprint_of_all_that_is_made_of_it(
    config: BuildConfig, tmp_path: Path, name: str
) -> None:
    only = replace(config, fields=("skeleton", "strip", "rgb"))
    before = fingerprints(only, tmp_path / "before")
    after = fingerprints(replace(only, strip=replace(only.strip, **{name: STRIP[name]})), tmp_path / "after")
    assert before["strip"] != after["strip"] and before["rgb"] != after["rgb"]
    assert before["skeleton"] == after["skeleton"]


def test_another_detector_is_another_fingerprint(config: BuildConfig, tmp_path: Path) -> None:
    strips = replace(config, fields=("strip",), strip=replace(config.strip, crop="detector"))
    one = make_detector(tmp_path / "one", {0: "person", 1: "chair"})
    other = make_detector(tmp_path / "other", {0: "chair", 1: "person"})
    found = [fingerprints(replace(strips, detector=str(m)), tmp_path / m.name)["strip"] for m in (one, other)]
    assert found[0] != found[1]


def test_image_source_and_layout_are_in_the_fingerprints(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("skeleton.mat", "color.avi", "depth.mp4"):
        (source / f"a1_s1_t1_{name}").write_bytes(b"")
    found = {
        video: scan_dataset(BuildConfig("utd-mhad", source, tmp_path, scan=ScanOptions(video))).settings
        for video in ("color", "depth")
    }
    assert found["color"] != found["depth"]
    clip = source / "S001C001P001R001A001.skeleton"
    clip.write_text("")
    layouts = {n: DATASETS["ntu60"](source, ScanOptions(layout=n)).layout for n in ("ntu25", "ntu25-hands")}
    assert layouts["ntu25"] != layouts["ntu25-hands"]


def test_settings_name_weights_processors_and_decoders_by_content_or_version(
    config: BuildConfig, tmp_path: Path
) -> None:
    job = open_job(replace(config, cache=tmp_path / "cache"), scan_dataset(config))
    for name in ("text", "rgb"):
        settings = job.fields[name].settings
        assert {
            "weights_sha256",
            "files_sha256",
            "transformers",
            "dtype",
            "image_processor",
        } <= settings.keys()
    assert set(job.fields["strip"].settings["versions"]) == {"av", "pillow"}


def test_copies_of_models_and_source_give_the_same_fingerprints(config: BuildConfig, tmp_path: Path) -> None:
    models = Path(shutil.copytree(Path(config.vqa).parent, tmp_path / "moved"))
    source = Path(shutil.copytree(config.source, tmp_path / "source"))
    moved = replace(config, source=source, vqa=str(models / "vqa"), cnn=str(models / "cnn"), workers=1)
    assert fingerprints(moved, tmp_path / "there") == fingerprints(config, tmp_path / "here")
