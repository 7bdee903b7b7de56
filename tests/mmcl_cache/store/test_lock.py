"""Two builds on one cache: the second says who holds it; a dead holder does not block."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmcl_cache.errors import CacheError
from mmcl_cache.store.lock import hold_lock

HOLD = """
import pathlib, sys, time
from mmcl_cache.store.lock import hold_lock
with hold_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_writer_is_told_who_holds_the_cache_until_that_one_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with (
        pytest.raises(CacheError, match=f"process {holder.pid} on {os.uname().nodename} since"),
        hold_lock(tmp_path),
    ):
        pass
    holder.kill()
    holder.wait()
    with hold_lock(tmp_path):
        pass
    holder.stdout.close()


def test_lock_can_be_taken_again_after_it_was_left(tmp_path: Path) -> None:
    for _ in range(2):
        with hold_lock(tmp_path):
            pass


def test_processes_that_share_a_lock_keep_a_whole_build_out_and_are_named(tmp_path: Path) -> None:
    script = HOLD.replace("hold_lock", "share_lock")
    holders = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for holder in holders:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    holders[1].kill()
    holders[1].wait()
    with (
        pytest.raises(CacheError, match=f"process {holders[0].pid} on {os.uname().nodename} since"),
        hold_lock(tmp_path),
    ):
        pass
    holders[0].kill()
    holders[0].wait()
    with hold_lock(tmp_path):
        pass
    for holder in holders:
        if holder.stdout is not None:
            holder.stdout.close()


def test_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CacheError, match=r"file cannot be written \(.+\); make it writable"),
        hold_lock(tmp_path / "file"),
    ):
        pass
