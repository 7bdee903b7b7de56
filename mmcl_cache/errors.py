"""The errors a person can meet. Each message is one line: what is wrong, where, what to do.

The command lines print the message without a traceback and exit with code 2.
"""

from __future__ import annotations


class UserError(Exception):
    """Something the person at the keyboard can mend."""


class SourceError(UserError):
    """The files of a data set are missing, misplaced or contradict each other."""


class ModelError(UserError):
    """A model cannot be had, or cannot do what it is asked."""


class SampleError(UserError):
    """One sample is bad. A build keeps its row, with the message as the reason; it never stops for it."""


class CacheError(UserError):
    """A cache cannot be read, or lacks what is asked of it."""


class StaleCacheError(CacheError):
    """What is on disk was made with other settings."""


class DamagedCacheError(CacheError):
    """A file of the cache is gone, cut or altered."""


class MissingFieldError(CacheError):
    """The cache has no such field, variant, protocol or complete set of shards."""
