from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from mmcl_cache.cli import main as cache_cli
from mmcl_train.cli import cli as train_cli

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = {"mmcl-train": train_cli, "mmcl-cache": cache_cli}


def commands() -> list[str]:
    """Every command of ours in the fenced blocks of the two pages."""
    found = []
    for page in ("deploy.md", "transfer.md"):
        for block in re.findall(r"```\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S):
            for line in block.splitlines():
                match = re.search(r"(?:^|\$ |\| )(mmcl-(?:train|cache) .*)", line)
                if match:
                    found.append(match[1].split("#")[0].strip())
    return found


def test_the_pages_have_commands() -> None:
    assert len(commands()) > 15


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_pages_is_one_the_program_takes(command: str) -> None:
    program, name, *arguments = shlex.split(command)
    known = PROGRAMS[program].commands[name]
    with click.Context(PROGRAMS[program]) as parent:
        known.make_context(name, arguments, parent=parent)
