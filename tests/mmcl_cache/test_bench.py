"""The bench runs what it names, and says what it measured."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from mmcl_cache.bench import format_bench
from mmcl_cache.cli import main


def test_figures_are_told_in_the_order_they_were_taken() -> None:
    part = {"clips_per_second": 10.0, "wall_seconds": 1.0, "cpu_seconds": 1.5, "start_seconds": 0.2}
    names = ("decode only", "models only", "whole build", "published way")
    ratios = ("wall_times_cores_over_cpu_alone", "cpu_over_cpu_alone")
    ratios += ("published_over_whole_wall", "published_over_whole_cpu")
    found = {"clips": 10, "cores": 2, "load": [0.0, 0.1, 0.2], "parts": dict.fromkeys(names, part)}
    text = format_bench(found | dict.fromkeys(ratios, 1.25))
    assert text.startswith("10 clips, 2 cores, load 0.0 0.1 0.2")
    assert [text.index(name) for name in names] == sorted(text.index(name) for name in names)
    assert "alone 1.25" in text


def test_too_few_clips_to_compare_memory_is_one_line() -> None:
    done = CliRunner().invoke(main, ["bench", "--memory", "--clips", "2"])
    assert done.exit_code == 2 and "from 4 clips on" in done.output


def test_model_that_is_not_there_is_one_line(generated_clips: Path, tmp_path: Path) -> None:
    options = [
        "--clips",
        "1",
        "--source",
        str(generated_clips),
        "--cnn",
        str(tmp_path),
        "--vqa",
        str(tmp_path),
    ]
    done = CliRunner().invoke(main, ["bench", *options])
    assert done.exit_code == 2 and "has no config.json" in done.output.splitlines()[-1]
