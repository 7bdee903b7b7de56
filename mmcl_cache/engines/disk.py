"""Disks that fail, told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmcl_cache.errors import UserError


@contextmanager
def tell_disk_errors(cache: Path) -> Iterator[None]:
    """What the operating system refuses while a cache is made is a user's to mend.

    Raises:
        UserError: in place of OSError. Pipes and connections that break are none of a disk's, and pass.
    """
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        raise disk_trouble(cache, f"{error.filename or cache}: the disk refuses", error) from None


def disk_trouble(cache: Path, what: str, error: OSError) -> UserError:
    """The error to raise: what could not be done, why, what is kept.

    Args:
        what: what went wrong, beginning with where.
    """
    if not (cache / "cache.json").is_file() and isinstance(error, FileNotFoundError):
        return UserError(
            f"{cache}: the folder was removed while it was being written; the same command makes it again"
        )
    return UserError(
        f"{what} ({error.strerror or error}); finished shards are kept: mend the disk and run the same command again"
    )
