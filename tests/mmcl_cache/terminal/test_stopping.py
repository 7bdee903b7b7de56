"""Ends of a command: its exit code, its one line, and what is kept when a batch system stops it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import psutil
import pytest
from click.testing import CliRunner

from mmcl_cache.cli import main
from mmcl_cache.demo.generate import generate_demo
from mmcl_cache.terminal.cli import CONTEXT, Tool
from mmcl_cache.terminal.cli_options import progress_options
from mmcl_cache.terminal.stopping import Stopped
from mmcl_train.cli import cli
from tests.mmcl_train.engine.learnable_cache import SMALL, make_cache

ROOT = Path(__file__).resolve().parents[3]


class Mistake(Exception):
    pass


class Small(Tool):
    stopped = "stopped; nothing is lost"

    def is_mistake(self, error: Exception) -> bool:
        return isinstance(error, Mistake)


@click.group(name="small", cls=Small, context_settings=CONTEXT)
def small() -> None:
    """A tool."""


@small.command()
@click.argument("what")
@progress_options
def end(what: str) -> None:
    """Ends one way or another."""
    endings = {
        "mistake": Mistake("no file\nhere"),
        "stop": Stopped("stopped at step 3"),
        "ctrl-c": KeyboardInterrupt(),
        "bug": ZeroDivisionError("by zero"),
        "pipe": BrokenPipeError(32, "of a worker"),
    }
    if what in endings:
        raise endings[what]


@pytest.mark.parametrize(
    ("what", "code", "line"),
    [
        ("well", 0, ""),
        ("mistake", 2, "small: no file here\n"),
        ("stop", 130, "small: stopped at step 3\n"),
        ("ctrl-c", 130, "small: stopped; nothing is lost\n"),
        ("bug", 1, ""),
        ("pipe", 1, ""),
    ],
)
def test_exit_code_tells_how_a_command_ended(what: str, code: int, line: str) -> None:
    done = CliRunner().invoke(small, ["end", what])
    assert done.exit_code == code and done.stderr == line
    if code == 1:
        assert done.exception is not None and not isinstance(done.exception, SystemExit), "a traceback"


@pytest.mark.parametrize(("what", "code", "event"), [("mistake", 2, "error"), ("stop", 130, "stopped")])
def test_in_json_mode_the_end_is_an_event(what: str, code: int, event: str) -> None:
    done = CliRunner().invoke(small, ["end", what, "--progress", "json"])
    told = json.loads(done.stderr)
    assert done.exit_code == code and (told["event"], told["exit"]) == (event, code)
    assert told["text"].startswith("small: ") and "MMCL_PROGRESS" not in os.environ


@pytest.mark.parametrize("tool", [main, cli], ids=["mmcl-cache", "mmcl-train"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--qiuet"], "--qiuet"),
        (["biuld"], "biuld"),
        (["completion", "tcsh"], "bash"),
        (["completion"], "zsh"),
    ],
)
def test_words_that_no_command_knows_are_one_line(tool: click.Group, words: list[str], said: str) -> None:
    done = CliRunner().invoke(tool, words)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"{tool.name}: ") and said in done.stderr


def start(module: str, words: Sequence[object]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def stop_all(process: subprocess.Popen[str]) -> None:
    """As a batch system does: SIGTERM to every process of the job at once."""
    family = psutil.Process(process.pid)
    for each in [*family.children(recursive=True), family]:
        each.send_signal(signal.SIGTERM)


def events_until(process: subprocess.Popen[str], wanted: str) -> list[dict[str, Any]]:
    """What it tells, up to an event of this kind that says work was done."""
    assert process.stderr is not None
    told: list[dict[str, Any]] = []
    for line in process.stderr:
        told.append(json.loads(line))
        if told[-1]["event"] == wanted and told[-1].get("done", 1):
            break
    return told


def test_training_stopped_by_a_batch_system_saves_itself_and_goes_on(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache").path
    settings = [part for setting in SMALL for part in ("--set", setting)]
    words = ["run", "--cache", cache, "--out", tmp_path / "run", "--progress", "json", *settings]
    words += ["--set", "schedule.epochs=4000"]
    for attempt in (1, 2):
        process = start("mmcl_train.cli", words)
        before = events_until(process, "epoch")
        stop_all(process)
        out, rest = process.communicate(timeout=120)
        last = json.loads(rest.splitlines()[-1])
        assert process.returncode == 130 and out == ""
        assert last["event"] == "stopped" and "same command goes on from here" in last["text"]
        assert list((tmp_path / "run").rglob("*step*")) or list((tmp_path / "run" / "checkpoints").iterdir())
        going_on = any("going on from" in event.get("text", "") for event in before)
        assert going_on == (attempt == 2)


def test_build_stopped_by_a_batch_system_keeps_what_is_complete(tmp_path: Path) -> None:
    generate_demo(tmp_path / "data", clips=8, seed=3, workers=1)
    words = ["build", "--dataset", "demo", "--source", tmp_path / "data", "--cache", tmp_path / "cache"]
    words += ["--shard-size", 1, "--workers", 1, "--progress", "json"]
    process = start("mmcl_cache.cli", words)
    markers, until = tmp_path / "cache" / "strip" / "default", time.monotonic() + 200
    while not list(markers.glob("0*.json")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    stop_all(process)
    out, rest = process.communicate(timeout=120)
    last = json.loads(rest.splitlines()[-1])
    assert process.returncode == 130 and out == "", rest
    assert last["event"] == "stopped" and "same command continues" in last["text"]
    assert 0 < len(list(markers.glob("0*.json"))) < 8
    again = CliRunner().invoke(main, [*map(str, words[:-4]), "--workers", "0", "--quiet"])
    assert again.exit_code == 0, again.output
    rows = json.loads(CliRunner().invoke(main, ["status", str(tmp_path / "cache"), "--json"]).stdout)
    assert {field["rows"]["ok"] for field in rows["fields"]} == {8}
    checked = CliRunner().invoke(main, ["verify", str(tmp_path / "cache")])
    assert checked.exit_code == 0, checked.output


def test_a_reader_that_leaves_is_no_error_to_tell() -> None:
    process = start("mmcl_train.cli", ["list", "settings"])
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(60) == 141


def test_a_batch_job_writes_json_only(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache").path
    settings = [part for setting in (*SMALL, "schedule.epochs=2") for part in ("--set", setting)]
    words = ["sweep", "--cache", cache, "--out", tmp_path / "runs", "--seed", 1, "--seed", 2, "--jobs", 2]
    process = start("mmcl_train.cli", [*words, "--progress", "json", *settings])
    out, told = process.communicate(timeout=250)
    events = [json.loads(line) for line in told.splitlines()]
    assert process.returncode == 0 and out == "", told
    epochs = {(e["run"], e["epoch"]) for e in events if e["event"] == "epoch"}
    assert epochs == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert all("loss" in e and "val_top1" in e for e in events if e["event"] == "epoch")
    states = [(e["run"], e["state"]) for e in events if e["event"] == "run"]
    assert sorted(states) == [(1, "finished"), (1, "planned"), (2, "finished"), (2, "planned")]
    assert events[-1]["event"] == "result" and events[-1]["command"] == "sweep"
    stored = json.loads((Path(events[-1]["runs"][0]["folder"]) / "result.json").read_text())
    assert events[-1]["runs"][0]["accuracy"] == stored["accuracy"]
