"""Who may import what: the laws that keep the two stages apart and the heavy libraries in their places."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(imported module, is it outside of functions) of every import statement."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, id(node) not in inside


def _users(library: str) -> set[str]:
    """Files of the two packages that import `library`, relative to the root."""
    return {
        str(path.relative_to(ROOT))
        for package in ("mmcl_cache", "mmcl_train")
        for path in _files(package)
        for name, _ in _imports(path)
        if name.split(".")[0] == library
    }


def test_stage_two_sees_of_stage_one_the_store_and_the_terminal_alone() -> None:
    allowed = ("mmcl_cache.store", "mmcl_cache.terminal")
    for path in _files("mmcl_train"):
        is_deploy = path.is_relative_to(ROOT / "mmcl_train" / "deploy")
        for name, _ in _imports(path):
            if name.split(".")[0] == "mmcl_cache" and not name.startswith(allowed):
                assert is_deploy and name.startswith("mmcl_cache.skeletons"), f"{path} imports {name}"


def test_stage_one_never_sees_stage_two_and_nothing_sees_pipelines() -> None:
    for package in ("mmcl_cache", "mmcl_train"):
        for path in _files(package):
            for name, _ in _imports(path):
                head = name.split(".")[0]
                assert head != "pipelines", f"{path} imports {name}"
                assert not (package == "mmcl_cache" and head == "mmcl_train"), f"{path} imports {name}"


@pytest.mark.parametrize(
    ("library", "places"),
    [
        ("h5py", ("mmcl_cache/store/",)),
        ("transformers", ("mmcl_cache/encoders/",)),
        ("av", ("mmcl_cache/video/decode", "mmcl_cache/demo/write")),
        ("decord", ("mmcl_cache/video/decode",)),
        ("click", ("mmcl_cache/cli", "mmcl_cache/terminal/cli", "mmcl_train/cli")),
        ("accelerate", ("mmcl_cache/build.py", "mmcl_cache/engines/", "mmcl_train/engine/")),
        ("ray", ("mmcl_cache/build.py", "mmcl_cache/engines/")),
        (
            "pickle",
            (
                "mmcl_cache/store/plain_pickle.py",
                "mmcl_cache/datasets/",
                "mmcl_train/deploy/checkpoint_file.py",
            ),
        ),
    ],
)
def test_library_is_used_in_its_place_only(library: str, places: tuple[str, ...]) -> None:
    assert {f for f in _users(library) if not f.startswith(places)} == set()


def test_functions_import_nothing_outside_the_command_lines() -> None:
    allowed = ("mmcl_cache/cli", "mmcl_cache/terminal/cli", "mmcl_train/cli")
    late = {
        f"{path.relative_to(ROOT)}: {name}"
        for package in ("mmcl_cache", "mmcl_train")
        for path in _files(package)
        for name, at_top in _imports(path)
        if not at_top and not str(path.relative_to(ROOT)).startswith(allowed)
    }
    # Optional extras are imported where they are asked for, so that the rest works without them.
    optional = ("timm", "torchvision", "ray", "decord", "wandb", "triton")
    assert {entry for entry in late if entry.split(": ")[1].split(".")[0] not in optional} == set()


@pytest.mark.parametrize(
    "module",
    [
        "mmcl_cache.store",
        "mmcl_cache.datasets",
        "mmcl_cache.skeletons",
        "mmcl_cache.video",
        "mmcl_train.scores",
    ],
)
def test_module_imports_without_torch(module: str) -> None:
    code = f"""
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ImportError(f"{{name}} is not to be imported here")

sys.meta_path.insert(0, Absent())
package = importlib.import_module({module!r})
for each in pkgutil.iter_modules(package.__path__):
    importlib.import_module({module!r} + "." + each.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("module", "command"), [("mmcl_cache.cli", "main"), ("mmcl_train.cli", "cli")])
def test_help_needs_neither_torch_nor_numpy(module: str, command: str) -> None:
    code = f"""
import sys
from click.testing import CliRunner
from {module} import {command}
try:
    print(CliRunner().invoke({command}, ["--help"]).output)
except SystemExit as stop:
    assert stop.code in (0, None)
assert not {{"torch", "numpy", "transformers", "h5py"}} & set(sys.modules), sorted(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0 and "Usage" in done.stdout, done.stderr


def test_no_source_file_has_outgrown_one_responsibility() -> None:
    long = {
        str(p.relative_to(ROOT)): n
        for p in [*_files("mmcl_cache"), *_files("mmcl_train")]
        if (n := _lines(p)) > 350
    }
    assert long == {}


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
