"""Memory of the processor: what a training step gives back is kept for the next one."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's malloc.h.
TRIM_THRESHOLD = -1
MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory; False where it is not glibc.

    As it comes, it returns every large tensor to the kernel, which hands out and clears the same pages again
    at the next step (docs/performance.md has the cost). A process that trains needs the same memory
    until it ends.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(MMAP_MAX, 0)) and bool(library.mallopt(TRIM_THRESHOLD, 2**31 - 1))
