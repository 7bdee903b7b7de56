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
