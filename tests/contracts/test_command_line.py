"""The command lines promise what the settings say, and their options do not change unnoticed."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mmcl_cache import cli as cache_cli
from mmcl_cache.config import BuildConfig, StripSettings
from mmcl_train import cli as train_cli

ROOT = Path(__file__).resolve().parents[2]
GROUPS = {"mmcl-cache": cache_cli.main, "mmcl-train": train_cli.cli}
LONG = {
    "mmcl-cache": ("build", "fit-cnn", "verify", "retry", "import", "export", "push", "pull"),
    "mmcl-train": ("run", "sweep", "transfer", "push", "pull"),
}
WITH_EXAMPLES = {
    "mmcl-cache": ("build",),
    "mmcl-train": ("run", "sweep", "ensemble", "compare", "predict", "export", "transfer"),
}


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


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_every_command_and_option_explains_itself(group: click.Group) -> None:
    assert group.help
    for name, command in group.commands.items():
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts[0]}"


@pytest.mark.parametrize("tool", GROUPS)
def test_whatever_works_long_shows_progress_by_the_same_options(tool: str) -> None:
    for name in LONG[tool]:
        options = {word for p in GROUPS[tool].commands[name].params for word in p.opts}
        assert {"--progress", "--quiet"} <= options, f"{tool} {name}"


@pytest.mark.parametrize("tool", GROUPS)
def test_examples_in_help_use_options_that_exist(tool: str) -> None:
    for name in WITH_EXAMPLES[tool]:
        command = GROUPS[tool].commands[name]
        options = {word for p in command.params for word in (*p.opts, *p.secondary_opts)}
        lines = [line for line in (command.epilog or "").splitlines() if f"{tool} {name}" in line]
        assert lines, f"{tool} {name} has no example"
        for line in lines:
            words = line.split(f"{tool} {name}")[1].split()
            assert {word for word in words if word.startswith("--")} <= options, line
        shown = CliRunner().invoke(GROUPS[tool], [name, "--help"])
        assert shown.exit_code == 0 and lines[0].strip() in shown.output, shown.output


@pytest.mark.parametrize("tool", GROUPS)
def test_version_names_what_results_depend_on_and_imports_none_of_it(tool: str) -> None:
    module, entry = {"mmcl-cache": ("mmcl_cache.cli", "main"), "mmcl-train": ("mmcl_train.cli", "cli")}[tool]
    code = f"""
import sys
from click.testing import CliRunner
from {module} import {entry}
print(CliRunner().invoke({entry}, ["--version"]).output)
assert not {{"torch", "numpy", "h5py", "av", "transformers"}} & set(sys.modules), sorted(sys.modules)
"""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0 and done.stdout.startswith(f"{tool}, version "), done.stderr
    names = {line.split()[0] for line in done.stdout.splitlines() if line}
    assert {"python", "torch", "transformers", "numpy", "h5py", "av", "accelerate"} <= names
    assert time.monotonic() - began < 10  # under half a second on an idle machine


def test_what_both_commands_share_knows_neither_stage() -> None:
    for path in sorted((ROOT / "mmcl_cache" / "terminal").glob("*.py")):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if name.startswith("mmcl_cache.terminal"):
                    continue
                head = name.split(".")[0]
                assert head not in ("mmcl_cache", "mmcl_train", "pipelines", "torch", "numpy"), (
                    f"{path}: {name}"
                )
                assert head != "click" or path.name.startswith("cli"), f"{path}: {name}"
