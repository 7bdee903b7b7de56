"""The same events as a live display, plain lines, JSON, or nothing."""

from __future__ import annotations

import io
import json
import sys
import threading

import pytest

from mmcl_cache.terminal.board import ProgressBoard, StageProgress
from mmcl_cache.terminal.clock import Clock, format_rate, format_seconds
from mmcl_cache.terminal.display import Display, Lines, Numbered
from mmcl_cache.terminal.events import finish, note, progress_event, tell
from mmcl_cache.terminal.live import Live, open_display
from mmcl_cache.terminal.modes import MODES, VARIABLE, chosen_mode


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("RANK", raising=False)


def run_board(stages: dict[str, int]) -> None:
    with ProgressBoard(stages) as board:
        for stage, total in stages.items():
            for _ in range(total):
                board.advance(stage)


def test_without_a_terminal_progress_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert chosen_mode() == "lines" and isinstance(open_display(), Lines)


@pytest.mark.parametrize(("term", "mode"), [("xterm", "live"), ("dumb", "lines")])
def test_on_a_terminal_progress_is_live_unless_it_is_dumb(
    term: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", term)
    assert chosen_mode() == mode


def test_every_mode_that_can_be_asked_for_has_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in MODES[1:]:
        monkeypatch.setenv(VARIABLE, mode)
        assert isinstance(open_display(), Display)
    monkeypatch.setenv(VARIABLE, "loud")
    with pytest.raises(ValueError, match="live, lines, json, quiet"):
        open_display()


def test_lines_come_not_more_often_than_every_ten_seconds_and_hold_no_control_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with ProgressBoard({"decode": 40, "text": 40}) as board:
        for _ in range(30):
            now[0] += 1
            board.advance("decode")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "decode 10/40  1.0/s  30s left; text 0/40",
        "decode 20/40  1.0/s  20s left",
        "decode 30/40  1.0/s  10s left",
    ]


def test_json_tells_the_first_and_the_last_step_of_every_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "json")
    run_board({"decode": 30, "text": 20})
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(e["stage"], e["done"]) for e in events] == [
        ("decode", 0),
        ("text", 0),
        ("decode", 30),
        ("text", 20),
    ]
    assert all({"event", "time", "stage", "done", "total", "rate", "seconds_left"} <= set(e) for e in events)
    assert events[0]["seconds_left"] is None and events[2]["seconds_left"] == 0


def test_quiet_says_nothing_but_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "quiet")
    run_board({"decode": 3})
    note("three clips")
    tell({"event": "error", "text": "no such file"})
    finish("build", "a cache", {})
    said = capsys.readouterr()
    assert said.err == "no such file\n" and said.out == "a cache\n"


def test_the_result_is_an_event_in_json_and_leaves_standard_output_empty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "json")
    finish("build", "3 shards", {"shards": 3})
    said = capsys.readouterr()
    event = json.loads(said.err)
    assert said.out == "" and (event["event"], event["command"], event["shards"]) == ("result", "build", 3)
    assert "text" not in event


def test_of_a_launcher_s_processes_the_first_alone_speaks_but_all_tell_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "json")
    monkeypatch.setenv("RANK", "1")
    run_board({"decode": 3})
    note("three clips")
    finish("build", "a cache", {})
    tell({"event": "error", "text": "no such file"})
    said = capsys.readouterr()
    assert said.out == "" and [json.loads(line)["event"] for line in said.err.splitlines()] == ["error"]


@pytest.mark.parametrize("no_colour", [False, True])
def test_live_shows_each_run_beside_the_others(
    no_colour: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    with Live() as live:
        for run in (1, 2):
            Numbered(live, run).show(progress_event("train", 30, 60, Clock(), "clips", "epoch 1/2"))
        live.show({"event": "run", "run": 1, "state": "finished", "text": "finished: [3/4]"})
    shown = capsys.readouterr().err
    assert "[1] epoch 1/2" in shown and "[2] epoch 1/2" in shown and "[1] finished: [3/4]" in shown
    after = shown[shown.index("finished") :]
    assert (
        "[2] epoch 1/2" in after.rsplit("\x1b[2K", 1)[-1]
        and "[1] epoch" not in after.rsplit("\x1b[2K", 1)[-1]
    )
    assert ("\x1b[32m" in shown or "\x1b[9" in shown) != no_colour


def test_a_board_can_be_told_from_many_threads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "json")
    with ProgressBoard({"text": 400}) as board:
        threads = [
            threading.Thread(target=lambda: [board.advance("text") for _ in range(100)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert events[-1]["done"] == 400


def test_one_stage_learns_its_size_from_its_first_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "json")
    with StageProgress("verify", "shards") as say:
        say(1, 3)
        say(3, 3)
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(e["done"], e["total"], e["unit"]) for e in events] == [(0, 3, "shards"), (3, 3, "shards")]


def test_rate_counts_what_was_done_since_the_start_and_time_left_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    clock = Clock(done=100)
    assert clock.left(100, 200) is None
    now[0] = 10.0
    assert clock.rate(150) == 5 and clock.left(150, 200) == 10


def test_slow_and_long_work_is_told_in_units_one_can_read() -> None:
    assert format_rate(12.34, "clips") == "12.3 clips/s"
    assert format_rate(0.5) == "30.0/min" and format_rate(1 / 1800, "runs") == "2.0 runs/h"
    assert [format_seconds(s) for s in (9.4, 185, 7620)] == ["9s", "3m05s", "2h07m"]
