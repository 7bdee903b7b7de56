"""Running a printed command in this process: its options as printed, the work made small, networks left out."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import shutil
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from accelerate.commands.launch import launch_command_parser
from click.testing import CliRunner
from torch.distributed.run import get_args_parser

from mmcl_cache.cli import main as mmcl_cache
from mmcl_train.cli import cli as mmcl_train
from tests.docs.pages import Command

PROGRAMS: dict[str, click.Group] = {"mmcl-cache": mmcl_cache, "mmcl-train": mmcl_train}
MODULES = {"mmcl_cache.cli": "mmcl-cache", "mmcl_train.cli": "mmcl-train"}

EXEMPT: dict[str, str] = {
    "pip install": "installing is the first step of CI itself (Makefile); the extras it names are checked",
    "make": "minutes each, and one of them runs this test; that the targets are there is checked",
    "mmcl-cache build --engine ray": "starts a cluster; tests/mmcl_cache/engines/test_ray.py builds with it",
    "mmcl-train bench --scaling": "trains for minutes and starts six commands; test_scaling.py runs its parts",
    "mmcl-train bench --traffic": "goes through the compiler for a minute; test_traffic.py runs all but that",
    "python -m pipelines.bench_kernels": "compiles thirty programs; tests/mmcl_train/kernels/test_ahead.py some",
    "python -m tests.mmcl_train.engine.killed_runs": "kills a dozen runs; test_exact_resume.py kills some",
}
"""Beginnings of commands that are not run, and why. Few, and each must still be on a page.

A pipeline that SMALLER does not shorten is not run either: its options are looked for in its `--help`.
"""

# What is put behind a command so that it takes a second: the last value of an option counts.
TRAIN = (
    "schedule.epochs=1", "schedule.warmup=0", "schedule.steps=[]", "model.width=0.125", "clip.length=16",
    "clip.shortest=8", "train.batch=2", "train.device=cpu", "train.checkpoint_minutes=60",
    "data.repeat=1",
)  # fmt: skip
SMALLER: dict[tuple[str, ...], tuple[str, ...]] = {
    ("mmcl-cache", "build"): ("--workers", "0", "--batch-size", "4", "--model-threads", "1", "--device", "cpu"),
    ("mmcl-cache", "retry"): ("--workers", "0", "--device", "cpu"),
    ("mmcl-cache", "fit-cnn"): ("--epochs", "1", "--batch-size", "4"),
    ("mmcl-cache", "bench"): ("--clips", "4", "--source", "data/demo"),
    ("mmcl-train", "run"): tuple(word for setting in TRAIN for word in ("--set", setting)),
    ("mmcl-train", "sweep"): ("--jobs", "1", *(word for setting in TRAIN for word in ("--set", setting))),
    ("mmcl-train", "bench"): (
        "--samples", "16", "--batch", "2", "--rounds", "1", "--set", "model.width=0.125", "--set", "clip.length=16",
    ),
    ("pipelines.bench_predict",): ("--repeats", "1", "--model", "runs/ntu60"),
    ("pipelines.bench_skeletons",): ("--seconds", "0.05"),
    ("pipelines.bench_backbones",): ("ctrsgcn", "--batch", "2", "--repeats", "1"),
}  # fmt: skip
NO_NETS = {("mmcl-cache", "build"): "microsoft/resnet-50", ("mmcl-train", "bench"): "small"}
"""Stands for inception_v3, which wants a package that is no requirement."""


@dataclass(frozen=True)
class Outcome:
    code: int
    output: str


def find_exemption(command: Command) -> str:
    """The entry of EXEMPT that a command belongs to, or nothing."""
    text = " ".join(command.parts[-1])
    return next((start for start in EXEMPT if text == start or text.startswith(f"{start} ")), "")


def find_runner(command: Command) -> str:
    """How a command is run, or nothing where nobody knows.

    "command", "module", "launcher", "script", "copy", "show", "variables"; "explained": its options are checked.
    """
    words = _without_scheduler(command.parts[-1])
    if words[0] in PROGRAMS:
        return "command"
    if words[:2] == ("python", "-m"):
        long = words[2].startswith("pipelines.") and (words[2],) not in SMALLER
        return "explained" if long else "module"
    if words[0] == "python" and words[1].endswith(".py"):
        return "script"
    if words[:2] == ("cp", "-r"):
        return "copy"
    if words[0] == "cat" and len(words) == 2:
        return "show"
    if words[0] == "export" and all("=" in word for word in words[1:]):
        return "variables"
    if "-m" in words and (words[0] == "torchrun" or words[:2] == ("accelerate", "launch")):
        return "launcher"
    return ""


def read_variables(command: Command) -> dict[str, str]:
    """What a line sets for those that follow."""
    if find_runner(command) != "variables":
        return {}
    return dict(word.split("=", 1) for word in command.parts[-1][1:])


def run_command(command: Command, stdin: str = "") -> Outcome:
    """Run the last program of the line, what comes before a pipe standing in `stdin`."""
    words = tuple(localise(word) for word in _without_scheduler(command.parts[-1]))
    runner = find_runner(command)
    if runner == "copy":
        shutil.copytree(words[2], words[3])
        return Outcome(0, "")
    if runner == "show":
        return Outcome(int(not Path(words[1]).is_file()), f"{words[1]} is not there")
    if runner == "script":
        return _run_python(words[1], words[2:])
    if runner == "launcher":
        check_launcher(words)
        words = ("python", *words[words.index("-m") :])
    if words[0] == "python":
        module, arguments = words[2], words[3:]
        if runner == "explained":
            return check_options(module, arguments)
        if module not in MODULES:
            return _run_python(module, shrink((module,), arguments))
        words = (MODULES[module], *arguments)
    arguments = shrink(words[:2], words[2:])
    done = CliRunner().invoke(PROGRAMS[words[0]], [words[1], *arguments], input=stdin)
    failure = done.exception
    told = "" if failure is None or isinstance(failure, SystemExit) else _describe(failure)
    return Outcome(done.exit_code, done.output + told)


def shrink(name: tuple[str, ...], arguments: Sequence[str]) -> list[str]:
    """The arguments with those of SMALLER behind them, and models that need a download replaced."""
    smaller = list(SMALLER.get(name, ()))
    given = list(arguments)
    if "finetune" in given:
        few = ("schedule.epochs=1", "schedule.steps=[]", "train.batch=2")
        smaller += [word for setting in few for word in ("--set", setting)]
    if "method.rgb=online" in given:
        smaller += ["--set", "method.cnn=small"]
    if any(word.startswith("train.accumulation=") for word in given):
        smaller += ["--set", "train.batch=4", "--set", "train.accumulation=2"]
    for place, word in enumerate(given[:-1]):
        if word == "--image-size":
            given[place + 1] = "32"
        if word == "--cnn" and given[place + 1] == "inception_v3":
            given[place + 1] = NO_NETS[name]
        if name == ("mmcl-cache", "import") and word.endswith(".npz"):
            smaller += ["--names", str(Path(word).with_suffix(".txt"))]
    return given + smaller


def localise(word: str) -> str:
    """Absolute places under the working folder, variables of the environment filled in."""
    return re.sub(r"^/(?=data/|tmp/kills)", "", os.path.expandvars(word))


def check_options(module: str, arguments: Sequence[str]) -> Outcome:
    """Exit code 2 where `--help` of a module does not name an option that it is given."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        done = _run_python(module, ["--help"])
    unknown = [
        word for word in arguments if word.startswith("--") and word.split("=")[0] not in text.getvalue()
    ]
    return Outcome(2, f"no option {unknown}") if unknown else done


def check_launcher(words: Sequence[str]) -> None:
    """SystemExit where torchrun or accelerate do not know an option."""
    arguments = list(words[1:])
    if words[0] == "torchrun":
        get_args_parser().parse_args(arguments)
    else:
        launch_command_parser().parse_args(arguments[1:])


def _without_scheduler(words: tuple[str, ...]) -> tuple[str, ...]:
    return words[1:] if words[0] == "srun" else words


def _run_python(module: str, arguments: Sequence[str]) -> Outcome:
    """A module by its name, or a file, as the program it is."""
    patch = pytest.MonkeyPatch()
    patch.setattr(sys, "argv", [module, *arguments])
    patch.delitem(sys.modules, module, raising=False)  # another test may have imported it
    cores = os.sched_getaffinity(0)
    try:
        if module.endswith(".py"):
            runpy.run_path(module, run_name="__main__")
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return Outcome(code, f"{module} {shlex.join(arguments)}: exit {stop.code}")
    except Exception as error:
        return Outcome(1, _describe(error))
    finally:
        patch.undo()
        os.sched_setaffinity(0, cores)  # a bench of one core keeps to it
    return Outcome(0, "")


def _describe(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)[-6:])
