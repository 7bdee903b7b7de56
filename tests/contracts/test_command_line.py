"""The command lines promise what the settings say, and their options do not change unnoticed."""

from __future__ import annotations

import dataclasses

import click
import pytest

from mmcl_cache import cli as cache_cli
from mmcl_cache.config import BuildConfig, StripSettings
from mmcl_train import cli as train_cli


def test_defaults_of_build_are_those_of_the_settings() -> None:
    """They stand twice because `--help` must not wait for the settings' imports."""
    defaults = {
        f.name: f.default
        for group in (StripSettings, BuildConfig)
        for f in dataclasses.fields(group)
        if f.default is not dataclasses.MISSING and f.default is not None
    }
    command = cache_cli.main.commands["build"]
    options = [p for p in command.params if isinstance(p, click.Option) and not p.is_flag]
    shown = {p.name: p.default for p in options if p.name in defaults}
    # Left to the command line: one process a core; questions and fields are lists that may be empty.
    own = {"workers", "questions", "choices", "fields"}
    assert {n: d for n, d in shown.items() if n not in own} == {n: defaults[n] for n in shown if n not in own}
    assert {
        "slack",
        "tiles",
        "sampling",
        "crop",
        "crop_scope",
        "shard_size",
        "batch_size",
        "deadline",
    } <= set(shown)


@pytest.mark.parametrize("group", [cache_cli.main, train_cli.cli], ids=["mmcl-cache", "mmcl-train"])
def test_every_command_and_option_explains_itself(group: click.Group) -> None:
    assert group.help
    for name, command in group.commands.items():
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts[0]}"
