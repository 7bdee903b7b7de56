"""The shipped models: small, loaded as any local folder, and right about clips they never saw."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mmcl_cache
from mmcl_cache.datasets import ScanOptions
from mmcl_cache.datasets.demo import scan_demo
from mmcl_cache.demo import generate_demo
from mmcl_cache.demo.clips import compose_clip, plan_clips
from mmcl_cache.encoders import open_image_encoder, open_text_encoder
from mmcl_cache.video.crop import person_boxes
from mmcl_cache.video.decode import read_frames
from mmcl_cache.video.frames import choose_frames
from mmcl_cache.video.strip import encode_jpeg, make_strip

ASSETS = Path(mmcl_cache.__file__).parent / "assets"
SEED, CLIPS = 7777, 24  # a seed of neither the demo nor the training
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def strips(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    """Strips made the real way: video written, decoded, cropped by the skeleton's pixels, JPEG."""
    source = tmp_path_factory.mktemp("embedded") / "demo"
    generate_demo(source, clips=CLIPS, seed=SEED, workers=1)
    dataset = scan_demo(source, ScanOptions())
    made: list[Image.Image] = []
    for sample in dataset.samples:
        assert sample.video is not None and sample.skeleton is not None
        frames = read_frames(sample.video, lambda count: choose_frames(count, 5))
        boxes = person_boxes(dataset.read(sample.skeleton).pixels, frames.indices, frames.size, 0.1)
        made.append(Image.open(io.BytesIO(encode_jpeg(make_strip(frames.images, boxes)))))
    return made


@pytest.fixture(scope="module")
def held() -> list[str]:
    return [compose_clip(clip, SEED).held for clip in plan_clips(CLIPS)]


def share_right(given: list[str], wanted: list[str]) -> float:
    return float(np.mean([a == b for a, b in zip(given, wanted, strict=True)]))


def test_models_take_ten_megabytes_at_most() -> None:
    assert 0 < sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) <= 10 * MEGABYTE


def test_questions_about_unseen_clips_are_answered_right(strips: list[Image.Image], held: list[str]) -> None:
    questions = (
        "whether the people are holding objects?",
        "what object is held?",
        "how many people are there?",
    )
    rows = open_text_encoder("embedded", questions, device="cpu").encode(strips)
    answers = [json.loads(str(row["answer"])) for row in rows]
    assert share_right([a[0] for a in answers], ["no" if kind == "none" else "yes" for kind in held]) >= 0.8
    assert (
        share_right([a[1] for a in answers], ["nothing" if kind == "none" else kind for kind in held]) >= 0.8
    )
    people = ["two" if compose_clip(clip, SEED).people == 2 else "one" for clip in plan_clips(CLIPS)]
    assert share_right([a[2] for a in answers], people) >= 0.8


def test_cnn_names_the_object(strips: list[Image.Image], held: list[str]) -> None:
    labels = json.loads((ASSETS / "cnn" / "config.json").read_text())["id2label"]
    rows = open_image_encoder("embedded", device="cpu").encode(strips)
    named = [labels[str(int(np.argmax(np.asarray(row["logits"]))))].split(",")[0] for row in rows]
    assert share_right(named, ["nothing" if kind == "none" else kind for kind in held]) >= 0.8
