"""Builds that are killed: all of one, a decode process, one rank of two; and two builds of one cache."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil

import mmcl_cache.engines.parts as engine_parts
from pipelines.faults_child import Child, Point, Spell, after, before, cut_and_die, die, stop, used_seconds
from pipelines.faults_outcome import Outcome, trials
from pipelines.faults_workshop import CALLS, Trial, Workshop

RANKS = ("--device", "cpu,cpu")

EXACT: dict[str, tuple[str, Callable[[Point], Spell]]] = {
    "build killed while decoding": ("decode", lambda point: before(point, die)),
    "build killed while encoding": ("encode", lambda point: before(point, die)),
    "build killed in the middle of a shard file": ("write", lambda point: after(point, cut_and_die)),
    "build killed at an fsync": ("sync", lambda point: before(point, die)),
    "build killed before a rename": ("rename", lambda point: before(point, die)),
    "build killed after a rename": ("rename", lambda point: after(point, die)),
    "build killed between a shard and its marker": ("marker", lambda point: before(point, die)),
}


def kill_in_phase(kind: str, shop: Workshop, count: int) -> Outcome:
    """SIGKILL at calls of one phase, picked at random."""
    phase, spell_of = EXACT[kind]
    outcome = Outcome(kind)
    with outcome.timed():
        for _ in range(count):
            cache, point = shop.new_cache(), shop.some_call(phase)
            ended = shop.run(shop.command(cache), [spell_of(point)])
            shop.settle(outcome, cache, [ended.trouble(-signal.SIGKILL)])
    return outcome


def kill_at_random(shop: Workshop, count: int) -> Outcome:
    """SIGKILL at moments picked at random, from the start to the end of a build."""
    outcome = Outcome("build killed at a random moment")
    with outcome.timed():
        for _ in trials(outcome, count):
            cache = shop.new_cache()
            ended = shop.run(shop.command(cache), kill_after=shop.random.uniform(0.05, 0.95) * shop.seconds)
            if ended.code == -signal.SIGKILL:
                cache.mkdir(exist_ok=True)
                shop.settle(outcome, cache)
    return outcome


def kill_again(shop: Workshop, count: int) -> Outcome:
    """SIGKILL, and SIGKILL again while the same command goes on from there."""
    outcome = Outcome("build killed, and again while it continues")
    with outcome.timed():
        for _ in range(count):
            cache, faults, troubles = shop.new_cache(), 0, list[str]()
            for phase in shop.random.sample(["encode", "marker", "rename"], 2):
                # Less is left to do each time, so only the first few calls are sure to come.
                point = Point(CALLS[phase].owner, CALLS[phase].name, shop.random.randint(1, 4))
                ended = shop.run(shop.command(cache), [before(point, die)])
                faults += ended.code == -signal.SIGKILL
                troubles.append(ended.trouble(-signal.SIGKILL))
                troubles += shop.finished(cache)[1]
            shop.settle(outcome, cache, troubles, faults)
    return outcome


def kill_decoder(shop: Workshop, count: int) -> Outcome:
    """SIGKILL of a decode process: the build itself goes on."""
    outcome = Outcome("decode process killed")
    with outcome.timed():
        for _ in trials(outcome, count):
            cache = shop.new_cache()
            child = shop.start(shop.command(cache, "--workers", "1"))
            # It imports for about a second, and then decodes.
            killed = kill_descendant(child, "worker_process", shop.random.uniform(0.0, 1.0))
            ended = child.wait()
            if killed:
                differs, lost = shop.compare(cache, {})
                outcome.note([ended.trouble(0), *differs], lost)
    return outcome


def kill_rank(shop: Workshop, count: int) -> Outcome:
    """SIGKILL of one of two model processes: the build tells, and the next one completes it."""
    outcome = Outcome("one rank of two killed")
    with outcome.timed():
        for _ in trials(outcome, count):
            cache = shop.new_cache()
            child = shop.start(shop.command(cache, *RANKS), [fork_ranks])
            killed = kill_descendant(child, "", shop.random.uniform(0.0, 0.5) * shop.seconds, which=-1)
            ended = child.wait()
            if killed and ended.code:
                shop.settle(outcome, cache, [ended.trouble(2, "the process of cpu died")])
    return outcome


def kill_parent_of_ranks(shop: Workshop, count: int) -> Outcome:
    """SIGKILL of the process that started two ranks, which import everything themselves: they end as well."""
    outcome = Outcome("parent of two ranks killed")
    with outcome.timed():
        for _ in range(count):
            cache = shop.new_cache()
            child = shop.start(shop.command(cache, *RANKS))
            while child.is_running() and len(list(cache.glob("*/*/0*.json"))) < shop.random.randint(1, 6):
                time.sleep(0.01)
            ranks = psutil.Process(child.pid).children(recursive=True)
            child.kill()
            ended = child.wait()
            _, alive = psutil.wait_procs(ranks, 10.0)
            left = [f"process {p.pid} outlived its parent" for p in alive]
            shop.settle(outcome, cache, [ended.trouble(-signal.SIGKILL), *left])
    return outcome


def build_beside(shop: Workshop, count: int) -> Outcome:
    """A second build of a cache while one is at work, stopped; then the first is killed, and the second may."""
    outcome = Outcome("second build on a cache that is being built")
    ways: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        ((), ()),
        (("--part", "0/2"), ()),
        ((), ("--part", "1/2")),
    ]
    with outcome.timed():
        for first, second in (ways * count)[:count]:
            cache = shop.new_cache()
            point = Point(CALLS["decode"].owner, CALLS["decode"].name, 2)
            holder = shop.start(shop.command(cache, *first), [before(point, stop)])
            stopped = holder.wait_until_stopped()
            held = f"process {holder.pid} on {socket.gethostname()} since {time.strftime('%Y-')}"
            refused = shop.run(shop.command(cache, *second))
            holder.kill()
            holder.wait()
            trouble = "" if stopped else "the first build ended too early"
            shop.settle(outcome, cache, [trouble, refused.trouble(2, held)])
    return outcome


def fork_ranks() -> None:
    """Ranks are forked, with everything imported, instead of started anew."""
    fork = multiprocessing.get_context("fork")

    class Forking:
        @staticmethod
        def get_context(method: str) -> Any:
            return fork

    setattr(engine_parts, "multiprocessing", Forking)  # noqa: B010


def kill_descendant(child: Child, words: str, delay: float, which: int = 0) -> bool:
    """SIGKILL of a process that the child started, as it has used some CPU seconds; was there one?

    Args:
        words: on its command line.
        which: of those that are there, in the order they were started.
    """
    process = psutil.Process(child.pid)
    while child.is_running():
        found = sorted((p for p in process.children() if words in " ".join(_words(p))), key=lambda p: p.pid)
        if found and used_seconds(found[which]) >= delay:
            os.kill(found[which].pid, signal.SIGKILL)
            return True
        time.sleep(0.005)
    return False


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


TRIALS: dict[str, Trial] = {
    **{kind: partial(kill_in_phase, kind) for kind in EXACT},
    "build killed at a random moment": kill_at_random,
    "build killed, and again while it continues": kill_again,
    "decode process killed": kill_decoder,
    "one rank of two killed": kill_rank,
    "parent of two ranks killed": kill_parent_of_ranks,
    "second build on a cache that is being built": build_beside,
}
