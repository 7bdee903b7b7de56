"""What ranks agree on before they part, here as threads of one process."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mmcl_cache.config import BuildConfig
from mmcl_cache.engines import job, ranks
from mmcl_cache.engines.launched import is_launched, processes_left_to_start
from mmcl_cache.engines.ranks import RankStopped, run_rank
from mmcl_cache.engines.report import BuildReport
from mmcl_cache.errors import ModelError

Files = Callable[[Path], dict[str, bytes]]
WORLD = 3


@pytest.fixture(autouse=True)
def one_load_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers cannot load models in several threads; ranks are processes otherwise."""
    gate, load = threading.Lock(), job.open_encoders

    def locked(*arguments: Any) -> Any:
        with gate:
            return load(*arguments)

    monkeypatch.setattr(job, "open_encoders", locked)
    monkeypatch.setattr(ranks, "open_encoders", locked)


def run_ranks(config: BuildConfig) -> list[BuildReport | BaseException]:
    """What came of each rank."""
    said: list[Any] = []
    spoke = threading.Condition()

    def run(rank: int) -> BuildReport | BaseException:
        heard = itertools.count()

        def agree(value: Any) -> Any:
            n = next(heard)
            with spoke:
                if rank == 0:
                    said.append(value)
                    spoke.notify_all()
                assert spoke.wait_for(lambda: len(said) > n, timeout=60)
                return said[n]

        try:
            return run_rank(config, rank, WORLD, agree, quiet=True)
        except BaseException as error:
            return error

    with ThreadPoolExecutor(WORLD) as pool:
        return list(pool.map(run, range(WORLD)))


def test_ranks_share_the_pending_shards_evenly(
    builder: Any, made: Path, files: Files, tmp_path: Path
) -> None:
    models = {"vqa": str(builder.vqa), "cnn": str(builder.cnn), "workers": 0}
    config = BuildConfig("demo", builder.source, tmp_path / "cache", shard_size=3, batch_size=2, **models)
    reports = run_ranks(config)
    assert [r.shards_made for r in reports if isinstance(r, BuildReport)] == [2, 2, 1]
    assert files(tmp_path / "cache") == files(made)


def test_mistake_that_rank_0_meets_stops_them_all(builder: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "stranger.txt").write_text("an empty folder would become a demo")
    config = BuildConfig(
        "demo", builder.source, tmp_path / "cache", cnn=str(builder.cnn), vqa=str(builder.vqa)
    )
    found = run_ranks(BuildConfig(**{**vars(config), "source": tmp_path / "empty"}))
    assert not isinstance(found[0], RankStopped | BuildReport)
    assert all(isinstance(each, RankStopped) and "rank 0 stopped" in str(each) for each in found[1:])


def test_models_that_are_not_there_stop_every_rank(builder: Any, tmp_path: Path) -> None:
    found = run_ranks(BuildConfig("demo", builder.source, tmp_path / "cache", vqa=str(tmp_path)))
    assert all(isinstance(each, ModelError) for each in found)


def test_process_of_its_own_is_not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert not is_launched() and processes_left_to_start() == 0
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert is_launched()
