"""The table of limits, on a small cache and a small build: what it tells, not how fast this machine is."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmcl_cache.store import open_cache, verify
from pipelines import limits, limits_measure
from pipelines.limits_cache import write_large_cache


def _measure_here(name: str, own: Path, *paths: Path) -> SimpleNamespace:
    """In this process: starting one for every measurement takes longer than a test should."""
    os.environ["XDG_CACHE_HOME"] = str(own)
    return SimpleNamespace(**asdict(limits_measure.MEASURES[name](*paths)))


def test_small_limits_tell_every_promise_and_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(limits, "measure", _measure_here)
    monkeypatch.setattr(limits_measure, "FRESH", 1 << 20)
    monkeypatch.setattr(limits, "SETTLED", 0.0)
    lines = limits.run(tmp_path, rows=300, samples=40)
    judged = [line.what for line in lines if line.ok is not None]
    assert [what.split(",")[0] for what in judged] == [
        "open a cache",
        "status",
        "status",
        "text + rgb of 180 rows",
        "peak of memory",
        "plan",
        "build",
        "status",
        "verify",
        "build",
    ]
    assert all(re.search(r"\d", line.measured) for line in lines)
    assert all(line.aim for line in lines if line.ok is not None)


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (None, 0), (False, 1)])
def test_a_missed_aim_is_the_exit_code(
    ok: bool | None, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(limits, "run", lambda *_: [limits.Line("open", "< 1 s", "2 s", ok)])
    assert limits.main([]) == code
    assert ("missed: open" in capsys.readouterr().out) == bool(code)


def test_measurement_of_a_process_of_its_own_is_what_its_last_line_says(tmp_path: Path) -> None:
    write_large_cache(tmp_path / "cache", 300)
    found = limits.measure("features", tmp_path / "own", tmp_path / "cache")
    # The training half has every second subject of 60 rows each: text of 768 and rgb of 1000 half-precision values.
    assert (found.count, found.data) == (180, 180 * 2 * (768 + 1000))
    assert found.cpu > 0 and found.wall > 0 and found.peak >= 0


def test_generated_cache_is_whole_and_goes_on_where_it_was_left(tmp_path: Path) -> None:
    cache = write_large_cache(tmp_path, 300)
    assert verify(cache) == [] and not cache.field("rgb").pending()
    field = cache.field("rgb")
    before = (field.folder / "00000.h5").stat().st_mtime_ns
    (field.folder / "00001.json").unlink()
    write_large_cache(tmp_path, 300)
    assert not open_cache(tmp_path).field("rgb").pending()
    assert (field.folder / "00000.h5").stat().st_mtime_ns == before
