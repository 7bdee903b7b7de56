"""The table of ways to run a step has every row everywhere; what cannot run says why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmcl_train.config import RunConfig
from mmcl_train.engine import bench_variants as module
from mmcl_train.engine import floors
from mmcl_train.engine.bench import bench_layers
from mmcl_train.engine.bench_data import write_random_cache
from mmcl_train.engine.bench_variants import NotHere, bench_variants, create_step
from mmcl_train.engine.inputs import InputLoader, Inputs, resolve
from mmcl_train.settings import override

SMALL = ["model.width=0.125", "clip.length=16", "data.val=none", "train.batch=2"]
Loaded = tuple[RunConfig, Inputs]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    cache = write_random_cache(tmp_path_factory.mktemp("bench") / "cache", 8)
    loader = InputLoader(Path(cache.path), torch.device("cpu"))
    config = resolve(override(RunConfig(), SMALL), cache.description)
    return config, loader.load(config, lambda line: None)


@pytest.fixture(autouse=True)
def small_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(floors.MATRIX, "cpu", 128)
    monkeypatch.setitem(floors.COPIED, "cpu", 1 << 20)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the rows without a GPU are meant")
def test_without_a_gpu_captured_and_compiled_rows_are_not_measured_and_say_why(loaded: Loaded) -> None:
    lines = list(bench_variants(*loaded, rounds=1, cnn="small"))
    rows = {line[2:48].strip(): line[48:] for line in lines if line.startswith("  ")}
    missing = {name for name, row in rows.items() if "not measured (no CUDA device" in row}
    assert missing == {name for name in rows if "CUDA graph" in name or "compiled" in name}
    measured = [row.split() for name, row in rows.items() if name and name not in missing]
    assert len(measured) == 5 and all(float(row[1]) > 0 and float(row[4]) > 0 for row in measured)


def test_compiled_step_trains_as_the_plain_one(loaded: Loaded) -> None:
    """torch.compile's tracing, without its code generator."""
    create_step(*loaded, one_batch(loaded), compiled=True, compiler="eager")()


def test_published_loop_without_its_library_is_not_measured(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(module.importlib, "import_module", refuse)
    with pytest.raises(NotHere, match="timm is not installed"):
        module.create_cnn("inception_v3")


def test_layers_are_shown_with_floors_here_and_on_published_machines(loaded: Loaded) -> None:
    lines = list(bench_layers(*loaded, rounds=1))
    assert sum(line.startswith("  blocks.") for line in lines) == 10
    assert sum("computed, not measured" in line for line in lines) == len(floors.PUBLISHED_PEAKS)
    assert lines[-1].split()[0] == "all" and len(lines[-1].split()) == 3 + 1 + len(floors.PUBLISHED_PEAKS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_every_row_is_measured_on_a_gpu(tmp_path: Path) -> None:
    cache = write_random_cache(tmp_path / "cache", 16)
    config = resolve(override(RunConfig(), [*SMALL, "train.batch=8"]), cache.description)
    inputs = InputLoader(Path(cache.path), torch.device("cuda")).load(config, lambda line: None)
    assert not [line for line in bench_variants(config, inputs, 1, "small") if "not measured" in line]


def one_batch(loaded: Loaded) -> module.Batch:
    split = loaded[1].train
    return split.batch(torch.arange(2), torch.Generator().manual_seed(1), train=True)
