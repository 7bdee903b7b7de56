"""What the shells complete, asked as they ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmcl_cache import cli_names as cache_names
from mmcl_cache.cli import main
from mmcl_cache.datasets import DATASETS
from mmcl_cache.store import FIELDS, LAYOUTS
from mmcl_cache.terminal.names import registry_names, setting_names
from mmcl_train.backbones import BACKBONES
from mmcl_train.cli import cli
from mmcl_train.data.streams import STREAMS
from mmcl_train.presets import PRESETS
from mmcl_train.settings import describe_settings

TOOLS = {"mmcl-cache": main, "mmcl-train": cli}
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both commands as programs, whether or not they are installed."""
    folder = tmp_path_factory.mktemp("bin")
    for name, module in (("mmcl-cache", "mmcl_cache.cli"), ("mmcl-train", "mmcl_train.cli")):
        program = folder / name
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from {module} import main; main()"
        program.write_text(f"#!{sys.executable}\n{code}\n")
        program.chmod(0o755)
    return folder


def complete(commands: Path, line: str) -> list[str]:
    """What bash offers at the end of a line, by the script that `completion bash` prints."""
    if shutil.which("bash") is None:
        pytest.skip("no bash on this machine")
    tool, words = line.split()[0], line.split()
    if line.endswith(" "):
        words.append("")
    script = CliRunner().invoke(TOOLS[tool], ["completion", "bash"]).output
    function = f"_{tool.replace('-', '_')}_completion"
    quoted = " ".join(f"'{word}'" for word in words)
    ask = f'COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; {function} {tool}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{ask}"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mmcl-cache bui", {"build"}),
        ("mmcl-train ", {"run", "sweep", "compare", "completion"}),
        ("mmcl-train run --backbone ctr", {"ctrgcn", "ctrsgcn"}),
        ("mmcl-train run --stream bone_", {"bone_motion"}),
        ("mmcl-train run --set optimiser.l", {"optimiser.lr="}),
        ("mmcl-train sweep --preset ntu120-h", {"ntu120-hdgcn-mmcl"}),
        ("mmcl-cache build --dataset n", {"ntu60", "ntu120", "nw-ucla"}),
        ("mmcl-cache build --field s", {"skeleton", "strip"}),
        ("mmcl-cache build --progress ", {"auto", "live", "lines", "json", "quiet"}),
    ],
)
def test_bash_completes(line: str, offered: set[str], commands: Path) -> None:
    found = set(complete(commands, line))
    assert found >= offered if line.endswith(" ") else found == offered


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script_of_its_own(tool: str, shell: str) -> None:
    done = CliRunner().invoke(TOOLS[tool], ["completion", shell])
    variable = f"_{tool.replace('-', '_').upper()}_COMPLETE"
    assert done.exit_code == 0 and f"{variable}={shell}_complete" in done.output.replace(" ", "")


def test_names_are_those_of_the_registries() -> None:
    train, cache = ROOT / "mmcl_train", ROOT / "mmcl_cache"
    assert registry_names(train / "backbones" / "__init__.py", "BACKBONES") == list(BACKBONES)
    assert registry_names(train / "data" / "streams.py", "STREAMS") == list(STREAMS)
    assert registry_names(train / "presets.py", "PRESETS") == list(PRESETS)
    assert registry_names(cache / "datasets" / "__init__.py", "DATASETS") == list(DATASETS)
    assert registry_names(cache / "store" / "layout.py", "LAYOUTS") == list(LAYOUTS)
    assert cache_names.field_names() == list(FIELDS)
    settings = setting_names(train / "config.py", "RunConfig")
    assert {line.split()[0] for line in describe_settings()} >= {s for s in settings if "." in s}


@pytest.mark.parametrize("tool", TOOLS)
def test_completion_imports_nothing_heavy(tool: str) -> None:
    module = {"mmcl-cache": "mmcl_cache.cli", "mmcl-train": "mmcl_train.cli"}[tool]
    line = f"{tool} {'build --dataset' if tool == 'mmcl-cache' else 'run --backbone'} "
    code = f"""
import sys
from {module} import main
try:
    sys.argv = [{tool!r}]
    main()
finally:
    heavy = {{"torch", "numpy", "h5py", "transformers", "rich"}} & set(sys.modules)
    print("HEAVY", sorted(heavy))
"""
    variable = f"_{tool.replace('-', '_').upper()}_COMPLETE"
    asked = {variable: "bash_complete", "COMP_WORDS": line, "COMP_CWORD": "3"}
    environment = {**os.environ, **asked, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert "HEAVY []" in done.stdout and "plain," in done.stdout, done.stdout + done.stderr
