"""The worked examples of the adding-a-… pages: their own tests pass, and they keep their neighbours' contracts."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from mmcl_cache.datasets import DATASETS
from mmcl_cache.encoders.batches import check_row
from mmcl_cache.store import pack_column
from tests.docs.examples import load_example
from tests.docs.given import BACKBONE_PAGE, DATASET_PAGE, QUESTION_PAGE, install_plaingcn, load_kitchen
from tests.mmcl_cache.encoders.conftest import make_images
from tests.mmcl_train.backbones import test_contract as contract

CONTRACTS = [
    name
    for name, test in inspect.getmembers(contract, inspect.isfunction)
    if name.startswith("test_") and list(inspect.signature(test).parameters) == ["name"]
]
DATASET_TESTS = (
    "test_odd_people_train_and_even_ones_test",
    "test_skeleton_is_in_metres_and_the_spine_of_frame_0_is_the_origin",
    "test_cut_line_names_the_file",
    "test_action_that_is_none_is_told",
    "test_wrong_folder_is_one_line",
)


@pytest.mark.parametrize("name", DATASET_TESTS)
def test_a_printed_test_of_the_data_set_passes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "kitchen", load_kitchen(monkeypatch).scan_kitchen)
    tests = load_example(DATASET_PAGE, "tests/mmcl_cache/datasets/test_kitchen.py", monkeypatch)
    getattr(tests, name)(tmp_path)


def test_every_printed_test_of_the_data_set_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = load_example(DATASET_PAGE, "tests/mmcl_cache/datasets/test_kitchen.py", monkeypatch)
    assert {name for name in vars(tests) if name.startswith("test_")} == set(DATASET_TESTS)


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_printed_backbone_keeps_the_contract_of_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install_plaingcn(monkeypatch)
    getattr(contract, name)("plaingcn")


def test_the_page_names_the_contract_of_a_backbone() -> None:
    assert len(CONTRACTS) > 8, f"{BACKBONE_PAGE} promises a test that runs over the registry"


def test_the_printed_encoder_fills_its_columns_and_batched_equals_single(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = load_example(QUESTION_PAGE, "mmcl_cache/encoders/brightness.py", monkeypatch)
    encoder, images = module.BrightnessEncoder(["is it bright?", "and now?"]), make_images(4)
    rows = encoder.encode(images)
    for column in encoder.columns:
        pack_column(column, [row[column.name] for row in rows])
    for image, row in zip(images, rows, strict=True):
        (alone,) = encoder.encode([image])
        assert {k: str(v) for k, v in alone.items()} == {k: str(v) for k, v in row.items()}
        assert isinstance(check_row(row), dict) and len(json.loads(row["answer"])) == 2
    assert json.loads(json.dumps(encoder.settings)) == encoder.settings
