"""A complete shard changed for another complete one, so that a kill at any moment leaves one of the two, whole.

The marker carries the hash of its data, so two files must change in one moment; the moment is the rename of the marker:

1. the new data is written as 00007.new.h5; the marker and 00007.h5 are still the old shard;
2. a marker that says `replacement` is renamed into place: from now on 00007.new.h5 is the shard;
3. 00007.h5 becomes a copy of it, the plain marker follows, 00007.new.h5 goes.

A kill after 2 leaves a shard that reads well; the next writer finishes it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmcl_cache.store.files import written_in_place
from mmcl_cache.store.marker import Marker, replacement_path, shard_path, write_marker
from mmcl_cache.store.schema import Column, Row
from mmcl_cache.store.shard import write_data


def replace_shard(
    folder: Path, index: int, fingerprint: str, columns: Sequence[Column], rows: Sequence[Row]
) -> Marker:
    """Put these rows in the place of a complete shard.

    Raises:
        ValueError: a row does not fit the columns.
        OSError: the disk refused; the old shard, or the new one, is complete.
    """
    data = write_data(replacement_path(folder, index), index, fingerprint, columns, rows)
    marker = replace(data, replacement=True)
    write_marker(folder, index, marker)
    return finish_replacement(folder, index, marker)


def finish_replacement(folder: Path, index: int, marker: Marker) -> Marker:
    """Give a replaced shard its usual name."""
    new, plain = replacement_path(folder, index), replace(marker, replacement=False)
    with written_in_place(shard_path(folder, index)) as temporary:
        shutil.copyfile(new, temporary)
    write_marker(folder, index, plain)
    new.unlink()
    return plain
