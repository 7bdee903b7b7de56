"""Freed memory is kept by a process that trains."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from mmcl_train.engine.allocator import keep_freed_memory

def step():
    held = [torch.empty(size, dtype=torch.uint8).fill_(1) for size in (40_000_000, 10_000_000, 40_000_000)]

if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_new_pages(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is on Linux")
def test_pages_of_a_freed_tensor_are_used_again() -> None:
    assert count_new_pages("keep") < count_new_pages("as it comes") / 10
