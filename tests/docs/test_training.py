"""Commands printed for users can be typed: in docs/training.md and in `mmcl-train list presets`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mmcl_train.cli import cli
from mmcl_train.presets import PRESETS
from mmcl_train.settings import key_type, override

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"


def commands_of(text: str) -> list[list[str]]:
    """Arguments of every mmcl-train command in the page's shell blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[line.index("mmcl-train") + 1 :] for line in words if "mmcl-train" in line]


COMMANDS = commands_of(PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_page_parses(words: list[str]) -> None:
    context = cli.commands[words[0]].make_context(words[0], list(words[1:]))
    override(PRESETS["small"].make(), context.params.get("assignments", ()))


@pytest.mark.parametrize("name", PRESETS)
def test_the_command_of_a_preset_parses(name: str) -> None:
    words = PRESETS[name].command.split()
    assert words[0] == "mmcl-train"
    context = cli.commands[words[1]].make_context(words[1], words[2:])
    assert context.params["preset"] in (None, name)


def test_settings_the_page_names_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for key in re.findall(r"`((?:data|clip|model|method|optimiser|schedule|train)\.[a-z_]+)", text):
        if key.split(".")[1] not in ("json", "safetensors"):
            key_type(key, "docs/training.md")
    assert len(COMMANDS) > 5
