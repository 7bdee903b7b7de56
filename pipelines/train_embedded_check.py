"""Ask the embedded models about 500 clips they never saw, made as a build makes them, and count the right answers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from mmcl_cache.datasets.dataset import Dataset, Sample, ScanOptions
from mmcl_cache.datasets.demo import scan_demo
from mmcl_cache.demo import generate_demo
from mmcl_cache.demo.clips import compose_clip, plan_clips
from mmcl_cache.encoders import EncodedRow, Encoder, open_image_encoder, open_text_encoder
from mmcl_cache.video.crop import align_indices, person_boxes
from mmcl_cache.video.decode import read_frames
from mmcl_cache.video.frames import choose_frames
from mmcl_cache.video.strip import encode_jpeg, make_strip

SEEDS = range(9001, 9006)
CLIPS = 100  # of each seed
BATCH = 50
WANTED = {
    "whether the people are holding objects?": 0.97,
    "what object is held?": 0.90,
    "how many people are there?": 0.0,
}


def check_embedded(assets: Path, work: Path, workers: int) -> dict[str, float]:
    """Print and give the share of right answers to each question of WANTED, and of objects the CNN names right.

    Raises:
        SystemExit: a share is below what is wanted.
    """
    strips: list[Image.Image] = []
    truth: dict[str, list[str]] = {question: [] for question in WANTED}
    for seed in SEEDS:
        source = work / f"seed-{seed}"
        generate_demo(source, clips=CLIPS, seed=seed, workers=workers)
        dataset = scan_demo(source, ScanOptions())
        strips += [open_strip(dataset, sample) for sample in dataset.samples]
        for clip_id in plan_clips(CLIPS):
            clip = compose_clip(clip_id, seed)
            holding = clip.held != "none"
            replies = (
                "yes" if holding else "no",
                clip.held if holding else "nothing",
                ("one", "two")[clip.people - 1],
            )
            for question, reply in zip(WANTED, replies, strict=True):
                truth[question].append(reply)
    shares = ask_vqa(assets / "vqa", strips, truth)
    shares["(cnn) object named"] = name_objects(assets / "cnn", strips, truth["what object is held?"])
    for question, share in shares.items():
        print(
            f"{share:7.1%} of {len(strips)} right (at least {WANTED.get(question, 0):.0%} wanted): {question}"
        )
    if any(shares[question] < least for question, least in WANTED.items()):
        raise SystemExit("the embedded models do not answer well enough")
    return shares


def open_strip(dataset: Dataset, sample: Sample) -> Image.Image:
    """The strip of one sample as a build makes it with its defaults: decoded video, person box, tiles, JPEG."""
    if sample.video is None or sample.skeleton is None:
        raise ValueError(f"{sample.sample_id} has no video or no skeleton")
    frames = read_frames(sample.video, lambda count: choose_frames(count, 5))
    bodies = dataset.read(sample.skeleton)
    indices = align_indices(frames.indices, frames.num_frames, frames.fps, bodies.num_frames, bodies.fps)
    boxes = person_boxes(bodies.pixels, indices, frames.size, 0.1)
    return Image.open(io.BytesIO(encode_jpeg(make_strip(frames.images, boxes))))


def ask_vqa(folder: Path, strips: list[Image.Image], truth: dict[str, list[str]]) -> dict[str, float]:
    """Question -> share of answers that are the true one, through the encoder that builds use."""
    encoder = open_text_encoder(str(folder), tuple(truth), device="cpu")
    answers = [json.loads(str(row["answer"])) for row in _encode(encoder, strips)]
    return {
        question: sum(given[place] == reply for given, reply in zip(answers, replies, strict=True))
        / len(strips)
        for place, (question, replies) in enumerate(truth.items())
    }


def name_objects(folder: Path, strips: list[Image.Image], objects: list[str]) -> float:
    """Share of strips whose scene, as the CNN names it, begins with the true object."""
    labels = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"]
    rows = _encode(open_image_encoder(str(folder), device="cpu"), strips)
    named = [labels[str(int(np.argmax(np.asarray(row["logits"]))))].split(",")[0] for row in rows]
    return sum(a == b for a, b in zip(named, objects, strict=True)) / len(strips)


def _encode(encoder: Encoder, strips: list[Image.Image]) -> list[EncodedRow]:
    return [
        row for start in range(0, len(strips), BATCH) for row in encoder.encode(strips[start : start + BATCH])
    ]
