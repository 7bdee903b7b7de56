"""The bench runs what it names, and says what it measured beside what no machine can go below."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from mmcl_cache import bench, bench_floors
from mmcl_cache.bench_floors import measure_copy, measure_model_floors, measure_product
from mmcl_cache.bench_ways import Timed
from mmcl_cache.cli import main
from mmcl_cache.config import BuildConfig
from mmcl_cache.engines import local
from mmcl_cache.errors import UserError
from mmcl_cache.store import Column

NAMES = (
    *("decode only", "text model", "text, one by one", "rgb model", "whole build", "published way"),
    *("loading", "writing"),
)
SIDE = 24


class Multiplier:
    """An encoder of one known product a strip."""

    settings: dict[str, Any] = {"dtype": "float32"}  # noqa: RUF012
    columns: tuple[Column, ...] = ()
    info: dict[str, Any] = {"device": "cpu"}  # noqa: RUF012

    def encode(self, images: Sequence[Image.Image]) -> list[dict[str, np.ndarray | str]]:
        return [{"x": (torch.ones(SIDE, SIDE) @ torch.ones(SIDE, SIDE)).numpy()} for _ in images]


@pytest.fixture
def small_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench_floors.MATRIX, "cpu", 64)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, small_product: None) -> None:
    """Processes of their own are for figures, not for what is measured."""
    said: list[Any] = []

    class Pipe:
        send = staticmethod(said.append)

    def measure(ways: Any) -> Any:
        bench._time(Pipe(), ways)  # type: ignore[arg-type]
        if isinstance(said[-1], str):
            raise UserError(said[-1])
        return said[-1]

    monkeypatch.setattr(bench, "_measure", measure)
    monkeypatch.setattr(local, "decode_workers", lambda config: 0)


def refuse(config: BuildConfig) -> Timed:
    raise UserError("told from another process")


def test_mistake_in_a_process_of_its_own_is_told_here(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="told from another process"):
        bench._measure({"decode only": (refuse, BuildConfig("demo", tmp_path, tmp_path))})


def test_every_way_is_measured_with_its_floor(generated_clips: Path, in_this_process: None) -> None:
    done = CliRunner().invoke(main, ["bench", "--clips", "2", "--source", str(generated_clips), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert set(found["parts"]) == set(NAMES) and found["models_on_gpu"] is False
    for name in set(NAMES) - {"published way"}:
        part = found["parts"][name]
        assert part["floor_seconds"] > 0
        assert part["over_floor"] == pytest.approx(part["wall_seconds"] / part["floor_seconds"])
    alone = ("decode only", "text model", "rgb model")
    seconds = sum(found["parts"][name]["cpu_seconds"] for name in alone) / found["cores"]
    assert found["parts"]["whole build"]["floor_seconds"] == pytest.approx(seconds)
    assert found["cache_bytes"] > 0
    assert all(name in bench.format_bench(found) for name in NAMES)


def test_figures_are_told_in_the_order_they_were_taken_and_aims_beside_them() -> None:
    part = {"clips_per_second": 10.0, "wall_seconds": 1.0, "cpu_seconds": 1.5, "start_seconds": 0.2}
    part["prepare_seconds"] = 0.05
    floor = {"floor_seconds": 0.25, "over_floor": 4.0}
    ratios = (
        *("wall_times_cores_over_cpu_alone", "cpu_over_cpu_alone", "whole_over_decode_rate"),
        *("published_over_whole_wall", "published_over_whole_cpu", "text_over_one_by_one"),
    )
    found = {
        **{"clips": 10, "cores": 2, "load": [0.0, 0.1, 0.2], "models_on_gpu": False},
        "parts": {name: part | (floor if name != "published way" else {}) for name in NAMES},
        **dict.fromkeys(ratios, 1.25),
    }
    text = bench.format_bench(found)
    assert text.startswith("10 clips, 2 cores, load 0.0 0.1 0.2; models on the same cores")
    rows = {line[2:18].strip(): line[18:].split() for line in text.splitlines()[2 : 2 + len(NAMES)]}
    assert tuple(rows) == NAMES
    assert rows["whole build"] == ["10.0", "1.00", "1.50", "0.20", "0.2500", "4.00"]
    assert len(rows["published way"]) == 4  # no floor
    assert "10.0 strips/s, 1.2 × one by one" in text and "1,500 strips/s, 20 ×" in text
    assert "ms of a core: text model 5.0, rgb model 5.0" in text
    assert "1.25 of decode only's clips/s (aim with models on a GPU: 0.9)" in text


def test_floor_of_a_model_is_its_operations_at_the_speed_of_a_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench_floors, "measure_product", lambda device, dtype: 1e3)
    floors = measure_model_floors({"text": Multiplier()}, Image.new("RGB", (8, 8)))
    assert floors == {"text": 2 * SIDE**3 / 1e3}


def test_product_is_measured_on_all_cores_and_leaves_torchs_threads(small_product: None) -> None:
    before = torch.get_num_threads()
    assert measure_product(torch.device("cpu"), torch.float32) > 0
    assert torch.get_num_threads() == before


def test_copy_holds_every_byte_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    (folder / "text" / "default").mkdir(parents=True)
    (folder / "cache.json").write_bytes(b"x" * 100)
    (folder / "text" / "default" / "00000.h5").write_bytes(b"y" * 50_000)
    size, read, written = measure_copy(folder, tmp_path / "copy")
    assert size == 50_100 and read > 0 and written > 0
    assert sorted(path.stat().st_size for path in (tmp_path / "copy").iterdir()) == [100, 50_000]


def test_too_few_clips_to_compare_memory_is_one_line() -> None:
    done = CliRunner().invoke(main, ["bench", "--memory", "--clips", "2"])
    assert done.exit_code == 2 and "from 4 clips on" in done.output


def test_model_that_is_not_there_is_one_line(
    generated_clips: Path, tmp_path: Path, in_this_process: None
) -> None:
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
