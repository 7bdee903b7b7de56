"""The pool of worker processes: tasks that hang, crash and raise, and what becomes of the others."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmcl_cache.errors import SampleError, UserError
from mmcl_cache.video.workers import TaskPool


def act(task: tuple[str, object]) -> object:
    what, value = task
    if what == "sleep":
        time.sleep(float(str(value)))
    elif what == "crash":
        os._exit(7)
    elif what == "crash once":
        marker = Path(str(value))
        if not marker.exists():
            marker.touch()
            os._exit(1)
    elif what == "raise":
        raise SampleError(str(value))
    elif what == "bug":
        raise KeyError(value)
    elif what == "lambda":
        return lambda: value
    elif what == "pid":
        return os.getpid()
    return value


def refuse(reason: str) -> None:
    raise SampleError(reason)


def die() -> None:
    os._exit(3)


def count(task: int) -> int:
    return task * task


@pytest.mark.parametrize("workers", [0, 1])
def test_values_and_errors_come_back_under_the_index_of_their_task(workers: int) -> None:
    with TaskPool(act, workers, 20.0) as pool:
        found = {
            r.index: r for r in pool.run([("echo", 5), ("raise", "clip 3 is cut"), ("bug", "k"), ("echo", 6)])
        }
    assert sorted(found) == [0, 1, 2, 3]
    assert (found[0].value, found[3].value) == (5, 6)
    assert found[1].error == "clip 3 is cut"
    assert found[2].error == "KeyError: 'k'"


def test_hanging_crashing_and_unpicklable_tasks_fail_alone_and_are_tried_twice(tmp_path: Path) -> None:
    tasks = [
        ("sleep", 60),
        ("crash", 0),
        ("crash once", str(tmp_path / "mark")),
        ("lambda", 1),
        *(("echo", n) for n in range(12)),
    ]
    start = time.monotonic()
    with TaskPool(act, 2, 0.7) as pool:
        found = {r.index: r for r in pool.run(tasks)}
    assert sorted(found) == list(range(len(tasks)))
    assert found[0].error == "no answer within 0.7 s, tried 2 times"
    assert found[1].error == "the worker process died (exit code 7), tried 2 times"
    assert found[2].value == str(tmp_path / "mark")
    assert "pickle" in (found[3].error or "").lower()
    assert [found[4 + n].value for n in range(12)] == list(range(12))
    assert time.monotonic() - start < 50


def test_ordered_results_come_in_the_order_of_the_tasks() -> None:
    with TaskPool(act, 2, 20.0) as pool:
        found = [r.index for r in pool.run([("sleep", 0.3), *(("echo", n) for n in range(6))], ordered=True)]
    assert found == list(range(7))


def test_no_more_tasks_are_read_than_may_be_pending() -> None:
    read: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(40):
            read.append(number)
            yield number

    with TaskPool(count, 1, 20.0, max_pending=3) as pool:
        results = pool.run(tasks())
        next(results)
        time.sleep(0.3)
        assert len(read) <= 4
        assert len(list(results)) == 39


def test_a_caller_that_stops_early_leaves_no_worker_at_work_and_the_pool_usable() -> None:
    with TaskPool(act, 1, 30.0) as pool:
        results = pool.run([("echo", 1), ("sleep", 30), ("echo", 2)])
        assert next(results).value == 1
        start = time.monotonic()
        results.close()
        assert time.monotonic() - start < 5
        assert [r.value for r in pool.run([("echo", 9)])] == [9]


def test_what_the_task_iterable_raises_reaches_the_caller() -> None:
    def tasks() -> Iterator[tuple[str, object]]:
        yield ("echo", 1)
        raise OSError("the list of files broke off")

    with TaskPool(act, 1, 20.0) as pool, pytest.raises(OSError, match="broke off"):
        list(pool.run(tasks()))


def test_an_initializer_that_raises_or_dies_is_one_error_and_not_a_loop() -> None:
    with (
        TaskPool(act, 1, 20.0, refuse, ("no decoder",)) as pool,
        pytest.raises(UserError, match="no decoder"),
    ):
        list(pool.run([("echo", 1)]))
    with TaskPool(act, 1, 20.0, die) as pool, pytest.raises(UserError, match="cannot start"):
        list(pool.run([("echo", 1)]))


def test_workers_leave_when_their_parent_is_killed() -> None:
    script = (
        "import sys; sys.path.insert(0, 'tests/mmcl_cache/video'); import test_workers as t\n"
        "if __name__ == '__main__':\n"
        "    pool = t.TaskPool(t.act, 1, 30.0)\n"
        "    for r in pool.run([('pid', 0), ('sleep', 1), ('echo', 1)]):\n"
        "        print(r.value, flush=True)\n"
    )
    root = Path(__file__).parents[3]
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root)
    assert child.stdout is not None
    worker = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.wait()
    end = time.monotonic() + 10
    while is_alive(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_alive(worker)


def test_a_function_that_no_module_holds_is_refused_at_once() -> None:
    def hidden(task: int) -> int:
        return task

    with pytest.raises((AttributeError, pickle.PicklingError), match="hidden"):
        TaskPool(hidden, 1, 20.0)


def test_workers_do_not_run_the_main_script_again(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(
        f"import sys; sys.path[:0] = {[str(Path(__file__).parents[3]), str(Path(__file__).parent)]!r}\n"
        "print('main runs', flush=True)\nimport test_workers as t\n"
        "with t.TaskPool(t.count, 1, 30.0) as pool:\n    print([r.value for r in pool.run([3])])\n"
    )
    shown = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    assert shown.split("\n")[:2] == ["main runs", "[9]"]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
