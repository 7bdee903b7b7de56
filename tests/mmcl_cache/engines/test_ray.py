"""A Ray cluster makes what one process makes, and goes on when a node is lost."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mmcl_cache.build import run_build
from mmcl_cache.config import BuildConfig
from mmcl_cache.errors import UserError

Files = Callable[[Path], dict[str, bytes]]


def test_without_ray_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'mmcl\[ray\]'"):
        run_build(BuildConfig("demo", tmp_path, tmp_path / "cache"), engine="ray")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes with one CPU each on this machine."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = Cluster(
        initialize_head=True,
        connect=False,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100_000_000},
    )
    made.second = made.add_node(num_cpus=1, object_store_memory=100_000_000)  # type: ignore[attr-defined]
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
def test_cluster_that_loses_a_node_makes_what_one_process_makes(
    builder: Any, made: Path, files: Files, tmp_path: Path, cluster: Any
) -> None:
    models = {"vqa": str(builder.vqa), "cnn": str(builder.cnn)}
    config = BuildConfig("demo", builder.source, tmp_path / "cache", shard_size=3, batch_size=2, **models)
    removed = threading.Event()

    def lose_node() -> None:
        limit = time.monotonic() + 90
        while len(files(config.cache)) < 4 and time.monotonic() < limit:
            time.sleep(0.02)
        cluster.remove_node(cluster.second, allow_graceful=False)
        removed.set()

    thief = threading.Thread(target=lose_node)
    thief.start()
    report = run_build(config, engine="ray", quiet=True)
    thief.join()
    assert removed.is_set() and report.shards_made == 5
    assert files(config.cache) == files(made)
