"""What the cache said of itself when a run was started: RUN/origin.json.

`fields.json` holds fingerprints, which tell that something differs. Here are the settings they were taken of, so that a
run that is refused can say what.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcl_cache.store import Cache, UserError, differences, ids_digest, join_some

from .folder import read_json, write_json

NAME = "origin.json"


def describe_cache(cache: Cache, fields: Mapping[str, str]) -> dict[str, Any]:
    """Plan and field variants, by the names of `Inputs.fields`: everything that their fingerprints are taken of.

    Args:
        fields: field → variant.
    """
    opened = [cache.field(field, variant) for field, variant in fields.items()]
    ids = cache.samples.sample_ids.tolist()
    plan = {**cache.description.to_json(), "samples": len(ids), "ids": ids_digest(ids)}
    return {"plan": plan, **{field.name: cache.spell_out(field) for field in opened}}


def check_origin(run: Path, now: Mapping[str, Any]) -> None:
    """Raise UserError where the cache is no longer the one that a run was started from, naming both values."""
    if not (run / NAME).is_file():
        return  # a new run, or one of an earlier version: its fingerprints are compared
    stored = read_json(run / NAME)
    names = sorted(stored.keys() & now.keys())
    found = differences({n: stored[n] for n in names}, {n: now[n] for n in names})
    if found:
        changed = [
            text.replace(" on disk", " when the run was started").replace("asked for", "now")
            for text in found
        ]
        raise UserError(
            f"{run}: the cache has changed since this run was started: {join_some(changed)}; "
            "give the old cache, or another --out"
        )


def keep_origin(run: Path, now: Mapping[str, Any]) -> None:
    """Write it, once."""
    if not (run / NAME).is_file():
        write_json(run / NAME, now)
