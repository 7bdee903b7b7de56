"""The table of limits, on a small cache and a small build: what it tells, not how fast this machine is."""

from __future__ import annotations

import cProfile
import os
import re
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

import mmcl_cache.store.check as check_module
import mmcl_cache.store.field as field_module
from mmcl_cache.config import BuildConfig
from mmcl_cache.datasets.plan import plan_summary
from mmcl_cache.plan import scan_dataset
from mmcl_cache.status import cache_status
from mmcl_cache.store import open_cache, verify
from pipelines import limits, limits_cache, limits_measure
from pipelines.limits_cache import write_large_cache
from pipelines.limits_samples import write_samples


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


def _count_calls(work: Callable[[], object]) -> int:
    """Of functions, built-in ones too: unlike seconds, the same at every run."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


def _plan(config: BuildConfig) -> None:
    plan_summary(scan_dataset(config))


def test_four_times_the_samples_are_planned_in_four_times_the_calls(tmp_path: Path) -> None:
    calls = []
    for count in (100, 400):
        write_samples(tmp_path / str(count), count)
        config = BuildConfig("folder", tmp_path / str(count), tmp_path / "cache")
        calls.append(_count_calls(partial(_plan, config)))
    assert calls[1] < 4.2 * calls[0]


def test_four_times_the_shards_are_counted_loaded_and_verified_in_four_times_the_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_cache, "SHARD", 16)
    monkeypatch.setattr(field_module, "map_threads", map)
    monkeypatch.setattr(check_module, "map_threads", map)
    calls: dict[str, list[int]] = {"status": [], "load": [], "verify": []}
    for rows in (160, 640):
        cache = write_large_cache(tmp_path / str(rows), rows)
        ids = cache.samples.sample_ids
        calls["status"].append(_count_calls(partial(cache_status, cache)))
        calls["load"].append(_count_calls(partial(cache.field("text").load, ids)))
        calls["verify"].append(_count_calls(partial(verify, cache)))
    for name, (few, many) in calls.items():
        assert many < 4.2 * few, name


def test_generated_cache_is_whole_and_goes_on_where_it_was_left(tmp_path: Path) -> None:
    cache = write_large_cache(tmp_path, 300)
    assert verify(cache) == [] and not cache.field("rgb").pending()
    field = cache.field("rgb")
    before = (field.folder / "00000.h5").stat().st_mtime_ns
    (field.folder / "00001.json").unlink()
    write_large_cache(tmp_path, 300)
    assert not open_cache(tmp_path).field("rgb").pending()
    assert (field.folder / "00000.h5").stat().st_mtime_ns == before
