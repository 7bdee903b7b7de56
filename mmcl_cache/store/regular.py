"""Opening files that may come from a stranger: a plain file, of a size that is known first, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

# Without it the opening of a named pipe waits for ever.
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)


def open_regular(path: Path, largest: int | None = None) -> BinaryIO:
    """A file for reading; links are followed, pipes, devices and sockets are refused without waiting for them.

    Args:
        largest: bytes; None for a file of any size.

    Raises:
        OSError: no such file, one that is not regular, or one that is larger; its `strerror` says so.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | _NO_WAITING)
    except ValueError:  # a null character
        raise OSError(errno.EINVAL, "no name of a file") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if largest is not None and found.st_size > largest:
            raise OSError(errno.EFBIG, f"{found.st_size:,} bytes, the limit is {largest:,}")
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def read_regular(path: Path, largest: int) -> bytes:
    """The whole content of what `open_regular` opens; raises its errors."""
    with open_regular(path, largest) as stream:
        return stream.read()
