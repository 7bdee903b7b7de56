"""The errors a person can meet. Each message is one line: what is wrong, where, what to do.

The command lines print the message without a traceback and exit with code 2.
"""

from __future__ import annotations


class UserError(Exception):
    """Something the person at the keyboard can mend.

    Names of a stranger's file may stand in the message: what would break the line or steer a terminal is spelt out.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if text.isprintable():
            return text
        return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


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
