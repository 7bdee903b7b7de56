"""A detector finds the people of a frame; boxes lie in the image; what it cannot be is one clear line."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

from mmcl_cache.encoders.detector import PersonDetector
from mmcl_cache.errors import ModelError
from mmcl_cache.video.crop import Box, spread_boxes


def make_detector(folder: Path, names: dict[int, str]) -> Path:
    """A tiny detector with random weights and its real processor."""
    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[64, 64],
        patch_size=16,
        num_detection_tokens=6,
        id2label=names,
        label2id={name: n for n, name in names.items()},
    )
    model = YolosForObjectDetection(config)
    torch.nn.init.constant_(
        model.class_labels_classifier.layers[-1].bias[0], 2.0
    )  # sees the first class everywhere
    model.save_pretrained(folder)
    YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_detector(tmp_path_factory.mktemp("detector"), {0: "person", 1: "chair"})


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (90, 120, 3), dtype=np.uint8) for _ in range(3)]


def test_boxes_of_people_lie_in_the_image_and_survive_the_way_to_a_worker(folder: Path) -> None:
    detector = PersonDetector(str(folder), threshold=0.3)
    found = detector.find(images())
    assert any(box is not None for box in found)
    for box in found:
        if box is not None:
            assert 0 <= box.left < box.right <= 120 and 0 <= box.top < box.bottom <= 90
    sent = pickle.dumps(detector)
    assert len(sent) < 5000, "weights stay behind"
    assert pickle.loads(sent).find(images()) == found


def test_nobody_is_found_where_no_score_reaches_the_threshold(folder: Path) -> None:
    assert PersonDetector(str(folder), threshold=1.0).find(images()) == [None] * 3


def test_weights_and_threshold_are_settings(folder: Path, tmp_path: Path) -> None:
    one = PersonDetector(str(folder), threshold=0.5).settings
    assert one["threshold"] == 0.5 and len(one["weights_sha256"]) == 64
    other = make_detector(tmp_path / "other", {0: "chair", 1: "Person"})
    assert PersonDetector(str(other)).settings["files_sha256"] != one["files_sha256"]


def test_detector_without_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no class 'person'"):
        PersonDetector(str(make_detector(tmp_path, {0: "cat", 1: "dog"})))


def test_tiles_without_a_box_take_that_of_the_clip() -> None:
    found = [Box(10, 10, 30, 40), None, Box(20, 5, 50, 60)]
    assert spread_boxes(found, (100, 80), 0.0, "clip") == [Box(10, 5, 50, 60)] * 3
    assert spread_boxes(found, (100, 80), 0.0, "frame") == [
        Box(10, 10, 30, 40),
        Box(10, 5, 50, 60),
        Box(20, 5, 50, 60),
    ]
    assert spread_boxes([None, None], (100, 80), 0.1, "clip") is None
    assert spread_boxes(found, (100, 80), 0.5, "clip") == [Box(0, 0, 70, 80)] * 3
