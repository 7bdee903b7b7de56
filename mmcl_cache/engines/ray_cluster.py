"""The same work on a Ray cluster: CPU tasks decode, actors with the models make shards from what they decoded.

Nodes may come and go: the rows and the shard that a node took with it are made again elsewhere, new nodes get actors.
All nodes must see source and cache under the same paths.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from mmcl_cache.config import BuildConfig
from mmcl_cache.datasets import Dataset, Sample
from mmcl_cache.engines.job import RECORDED, Pending, make_recorder
from mmcl_cache.engines.ray_tasks import ShardActor, record_samples
from mmcl_cache.engines.report import BuildReport
from mmcl_cache.errors import UserError
from mmcl_cache.fields.recording import Recorder
from mmcl_cache.plan import scan_dataset
from mmcl_cache.store.lock import hold_lock
from mmcl_cache.terminal.board import ProgressBoard

CHUNK = 16  # samples a decode task
SHARDS_PER_ACTOR = 2  # one in the models, one being decoded; bounds what lies in Ray's object store
TRIES = 5
LOOK_SECONDS = 2.0


def run_ray(config: BuildConfig, say: Callable[[str], None], quiet: bool) -> BuildReport:
    """Build on the cluster of RAY_ADDRESS, or the one that runs here, or else on this machine alone.

    Raises:
        UserError: no Ray, a user's mistake on any node, or a shard that no actor survives.
    """
    ray = _import_ray()
    dataset = scan_dataset(config)
    say(f"{dataset.name}: {len(dataset.samples)} samples under {config.source}")
    for note in dataset.notes:
        say(f"  {note}")
    owns_session = not ray.is_initialized()
    if owns_session:
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        config.cache.mkdir(parents=True, exist_ok=True)
        with hold_lock(config.cache):
            return _Schedule(ray, _anywhere(config), dataset, say, quiet).run()
    finally:
        if owns_session:
            ray.shutdown()


def _import_ray() -> Any:
    """The library, where it is asked for.

    Raises:
        UserError: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise UserError("--engine ray needs Ray, which is not installed: pip install 'mmcl[ray]'") from None
    return ray


def _anywhere(config: BuildConfig) -> BuildConfig:
    """The settings with paths that do not depend on the folder a process was started in."""
    scan = replace(config.scan, csv=config.scan.csv.absolute() if config.scan.csv else None)
    return replace(config, source=config.source.absolute(), cache=config.cache.absolute(), scan=scan)


@dataclass
class _Worker:
    """An actor and what it has been given."""

    handle: Any
    ready: Any  # reference that resolves once its models are open; None afterwards
    running: dict[Any, int] = field(default_factory=dict)  # result reference → shard


class _Schedule:
    """Which actor makes which shard. Runs in the driver, holds no rows."""

    def __init__(
        self, ray: Any, config: BuildConfig, dataset: Dataset, say: Callable[[str], None], quiet: bool
    ) -> None:
        self._ray, self._config, self._dataset, self._say, self._quiet = ray, config, dataset, say, quiet
        has_gpus = self._gpus() > 0
        if not has_gpus and config.model_threads is None:
            config = replace(config, model_threads=1)
        # No CPU is reserved for an actor, so that a node with a single one still decodes.
        options = {"num_gpus": 1 if has_gpus else 0, "num_cpus": 0, "scheduling_strategy": "SPREAD"}
        self._actor = ray.remote(**options)(ShardActor)
        self._actor_config = config
        self._record = ray.remote(num_cpus=1, max_retries=TRIES, scheduling_strategy="SPREAD")(record_samples)
        self._workers: list[_Worker] = []
        self._todo: deque[int] = deque()
        self._tries: dict[int, int] = {}
        self._pending: Pending = {}
        self._recorder: Any = None
        self._looked = 0.0

    def run(self) -> BuildReport:
        started = time.monotonic()
        self._look()
        self._pending = self._plan()
        shards = -(-len(self._dataset.samples) // self._config.shard_size)
        report = BuildReport(shards_found=shards - len(self._pending))
        rows = sum(len(self._samples(k)) for k in self._pending)
        self._todo.extend(self._pending)
        self._recorder = self._ray.put(self._make_recorder())
        try:
            with ProgressBoard({"samples": rows} if rows else {}, self._quiet) as board:
                while self._todo or any(w.running for w in self._workers):
                    self._look()
                    self._hand_out()
                    self._collect(report, board)
        finally:
            for worker in self._workers:
                self._ray.kill(worker.handle)
        report.wall_seconds = time.monotonic() - started
        return report

    def _plan(self) -> Pending:
        """What is to do, as the first actor that lives finds it."""
        while True:
            worker = self._workers[0]
            try:
                return self._ray.get(worker.handle.pending.remote())
            except self._ray.exceptions.RayActorError as error:
                self._drop(worker, error)
                self._looked = 0.0
                self._look()
            except self._ray.exceptions.RayTaskError as error:
                raise self._reason(error) from None

    def _look(self) -> None:
        """Start an actor for every GPU, or where there is none for every node, that has come since."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        alive = sum(bool(node["Alive"]) for node in self._ray.nodes())
        while len(self._workers) < max(self._gpus() or alive, 1):
            handle = self._actor.remote(self._actor_config)
            self._workers.append(_Worker(handle, handle.ready.remote()))

    def _gpus(self) -> int:
        return int(self._ray.cluster_resources().get("GPU", 0))

    def _hand_out(self) -> None:
        for turn in range(SHARDS_PER_ACTOR):
            for worker in self._workers:
                if worker.ready is None and len(worker.running) == turn and self._todo:
                    k = self._todo.popleft()
                    chunks = self._decode(k) if set(self._pending[k]) & set(RECORDED) else []
                    reference = worker.handle.make_shard.remote(k, self._pending[k], *chunks)
                    worker.running[reference] = k

    def _decode(self, k: int) -> list[Any]:
        samples, limit = self._samples(k), self._config.deadline
        starts = range(0, len(samples), CHUNK)
        return [self._record.remote(self._recorder, samples[n : n + CHUNK], limit) for n in starts]

    def _collect(self, report: BuildReport, board: ProgressBoard) -> None:
        """Take one answer, or none for a while."""
        waiting = {w.ready: w for w in self._workers if w.ready is not None}
        waiting |= {reference: w for w in self._workers for reference in w.running}
        done, _ = self._ray.wait(list(waiting), num_returns=1, timeout=LOOK_SECONDS)
        for reference in done:
            worker = waiting[reference]
            try:
                answer = self._ray.get(reference)
            except self._ray.exceptions.RayActorError as error:
                self._drop(worker, error)
                continue
            except self._ray.exceptions.RayTaskError as error:
                raise self._reason(error) from None
            except self._ray.exceptions.RayError as error:  # rows that were lost with their node too often
                self._again(worker.running.pop(reference), error)
                continue
            if reference is worker.ready or reference == worker.ready:
                worker.ready = None
                continue
            k = worker.running.pop(reference)
            report.add(answer)
            board.advance("samples", len(self._samples(k)))

    def _drop(self, worker: _Worker, error: Exception) -> None:
        """Give up an actor; its shards are made again, its models may have been refused by the node.

        Raises:
            UserError: it ended because of a user's mistake.
        """
        cause = getattr(error, "cause", None)
        if isinstance(cause, UserError):
            raise UserError(str(cause)) from None
        self._workers.remove(worker)
        self._ray.kill(worker.handle)
        self._say("  a node or its process is gone; its shards are made again")
        for k in worker.running.values():
            self._again(k, error)

    def _again(self, k: int, error: Exception) -> None:
        self._tries[k] = self._tries.get(k, 0) + 1
        if self._tries[k] >= TRIES:
            raise UserError(
                f"shard {k} was lost {TRIES} times, last by {type(error).__name__}; "
                "see whether its nodes run out of memory, then run the same command again"
            )
        self._todo.appendleft(k)

    def _reason(self, error: Any) -> Exception:
        return UserError(str(error.cause)) if isinstance(error.cause, UserError) else error

    def _samples(self, k: int) -> tuple[Sample, ...]:
        size = self._config.shard_size
        return self._dataset.samples[k * size : (k + 1) * size]

    def _make_recorder(self) -> Recorder:
        wanted = {name for names in self._pending.values() for name in names}
        return make_recorder(self._config, self._dataset, sorted(wanted))
