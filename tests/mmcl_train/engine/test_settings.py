from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmcl_cache.store import UserError
from mmcl_train.config import RunConfig
from mmcl_train.presets import DEFAULTS, PRESETS, choose_preset, create_preset
from mmcl_train.settings import differences, fingerprint, from_dict, load_config, override, to_dict, to_json


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_its_json(name: str, tmp_path: Path) -> None:
    config = create_preset(name)
    path = tmp_path / "config.json"
    path.write_text(to_json(config))
    assert load_config(path) == config
    assert config.preset == name


def test_every_default_is_a_preset_and_other_data_start_small() -> None:
    assert set(DEFAULTS.values()) <= set(PRESETS)
    assert choose_preset("mine") == "small"


def test_the_default_config_is_the_released_one() -> None:
    assert to_dict(RunConfig())["optimiser"] == {
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 4e-4,
    }
    assert to_dict(RunConfig())["schedule"] == {"epochs": 110, "warmup": 5, "steps": [90, 100], "gamma": 0.1}


def test_overrides_are_parsed_to_the_type_of_the_setting() -> None:
    config = override(
        RunConfig(),
        [
            "train.batch=64",
            "schedule.steps=35,55",
            "method.fam=no",
            "optimiser.lr=1e-2",
            "data.stream=bone",
            "clip.crop=[0.9, 1]",
        ],
    )
    assert config.train.batch == 64
    assert config.schedule.steps == (35, 55)
    assert config.method.fam is False
    assert config.optimiser.lr == 0.01
    assert config.data.stream == "bone"
    assert config.clip.crop == (0.9, 1.0)


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("train.bacth=3", "train.batch"),
        ("batch=3", "train.batch"),
        ("train.batch", "setting=value"),
        ("train.batch=many", "whole number"),
        ("train.batch=1.5", "whole number"),
        ("method.enabled=maybe", "truth value"),
        ("train.precision=fp8", "fp32, bf16"),
        ("train.batch=0", "at least 1"),
        ("optimiser.lr=nan", "at least 0"),
        ("clip.crop=0.5", "list of float"),
        ("clip.crop=0.9,0.5", "low <= high"),
        ("train.accumulation=3", "equal parts"),
    ],
)
def test_a_wrong_override_says_what_would_be_right(assignment: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        override(RunConfig(), [assignment])


@pytest.mark.parametrize(
    "value",
    ['{"train": {"batch": "64"}}', '{"train": {"bogus": 1}}', '{"train": {"batch": true}}', "[]", "{"],
)
def test_a_damaged_config_file_is_named(value: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(value)
    with pytest.raises(UserError, match=r"config\.json"):
        load_config(path)


def test_differences_leave_out_where_a_run_is_done() -> None:
    first = from_dict({"data": {"cache": "a"}, "train": {"device": "cpu"}})
    second = override(from_dict({"data": {"cache": "b"}}), ["data.stream=bone"])
    assert differences(second, first) == ["data.stream: joint → bone"]
    assert fingerprint(first, {}) == fingerprint(RunConfig(), {})
    assert fingerprint(first, {"skeleton/default": "1"}) != fingerprint(first, {})


def test_json_of_a_config_is_canonical() -> None:
    text = to_json(RunConfig())
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
