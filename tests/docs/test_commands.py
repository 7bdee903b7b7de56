"""Every command printed in the README and in docs/ runs as it stands there, on data sets of a dozen clips."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
from pathlib import Path

import pytest

from tests.docs.given import PREPARE
from tests.docs.miniature import list_camera_frames
from tests.docs.pages import PAGES, ROOT, Command, find_commands, find_inline_commands
from tests.docs.running import EXEMPT, PROGRAMS, find_exemption, find_runner, read_variables, run_command
from tests.docs.world import Place, World

COMMANDS = [command for page in PAGES for command in find_commands(page)]
WITH_COMMANDS = tuple(dict.fromkeys(command.page for command in COMMANDS))
INLINE = sorted({(page, text) for page in PAGES for text in find_inline_commands(page)})


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands_of_a_page_run_in_its_order(
    page: str,
    world: World,
    hub_models: dict[str, Path],
    no_network: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "1")
    if page in PREPARE:
        PREPARE[page](Place(world, work, hub_models, monkeypatch))
    failures = []
    for command in find_commands(page):
        variables = read_variables(command)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        if variables or find_exemption(command):
            continue
        done = run_command(command, list_camera_frames() if len(command.parts) > 1 else "")
        if done.code != 0:
            failures.append(f"{command.text}\n  exit {done.code}: {done.output[-1500:]}")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}: {command.text}"[:90])
def test_a_command_is_run_or_exempt(command: Command) -> None:
    assert find_exemption(command) or find_runner(command), (
        f"{command.page}: nobody runs `{command.text}`: add it to tests/docs/running.py"
    )


def test_exemptions_are_few_and_each_is_still_needed() -> None:
    used = {find_exemption(command) for command in COMMANDS}
    assert not set(EXEMPT) - used
    explained = {command.parts[-1][2] for command in COMMANDS if find_runner(command) == "explained"}
    assert len(EXEMPT) + len(explained) <= 12


def test_every_page_of_docs_is_read() -> None:
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= set(PAGES)
    assert set(PREPARE) <= set(PAGES)


@pytest.mark.parametrize(("page", "text"), INLINE)
def test_a_command_in_the_prose_has_options_that_exist(page: str, text: str) -> None:
    program, *words = shlex.split(text)
    command = PROGRAMS[program].commands[words[0]]
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("page", PAGES)
def test_modules_that_a_page_runs_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for module in set(re.findall(r"python -m ([\w.]+)", text)):
        assert importlib.util.find_spec(module), f"{page}: python -m {module}"


def test_extras_and_targets_that_pages_name_exist() -> None:
    text = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    setup, makefile = (ROOT / "setup.cfg").read_text(), (ROOT / "Makefile").read_text()
    extras = setup.split("[options.extras_require]")[1]
    for extra in set(re.findall(r"mmcl\[(\w+)\]", text)):
        assert re.search(rf"^{extra} =$", extras, re.MULTILINE), f"no extra {extra}"
    for target in set(re.findall(r"^make (\w+)|`make (\w+)`", text, re.MULTILINE)):
        name = "".join(target)
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), f"no target {name}"


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target = link.partition("#")[0]
        if target and "://" not in target:
            assert os.path.exists((ROOT / page).parent / target), f"{page} → {link}"
