"""The files that a cache was made from, found again: joined with the cache on the sample id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmcl_cache.datasets import DATASETS, Dataset, Sample, ScanOptions
from mmcl_cache.datasets.tree import check_source
from mmcl_cache.errors import UserError
from mmcl_cache.store import LAYOUTS, Cache, Field


def find_source(cache: Cache, source: Path, options: ScanOptions) -> Dataset:
    """The data set of a cache, with exactly the samples of the cache: those whose files are gone have no paths.

    Args:
        options: what the person says; where they say nothing, what the cache knows.

    Raises:
        UserError: the cache is of no data set that can be scanned.
        SourceError: its files are not where they should be.
    """
    name = cache.description.dataset
    if name not in DATASETS:
        raise UserError(
            f"{cache.path} is of {name!r}, which is no data set with files to look at "
            f"(known: {', '.join(sorted(DATASETS))}); a cache made by `import` is made again by `import`"
        )
    check_source(source, name)
    found = DATASETS[name](source, complete_options(cache, options))
    there = {sample.sample_id: sample for sample in found.samples}
    table = cache.samples
    samples = tuple(
        there.get(sample_id) or Sample(sample_id, int(label))
        for sample_id, label in zip(table.sample_ids.tolist(), table.labels.tolist(), strict=True)
    )
    return replace(found, samples=samples, splits={}, follow_links=options.follow_links)


def complete_options(cache: Cache, options: ScanOptions) -> ScanOptions:
    """The options with the image source and the layout that the cache was built with, where none is given."""
    layout = cache.description.layout.name
    return replace(
        options,
        video=_images(cache) if options.video == "auto" else options.video,
        layout=layout if options.layout is None and layout in LAYOUTS else options.layout,
    )


def _images(cache: Cache) -> str:
    """The image source that a data set with several put into the settings."""
    for name, where in (("strip", "people"), ("skeleton", None)):
        for variant in cache.fields().get(name, []):
            settings: Mapping[str, Any] = cache.field(name, variant).settings
            told = (settings.get(where, {}) if where else settings).get("images")
            if isinstance(told, str):
                return told
    return "auto"


def built_fields(cache: Cache, name: str) -> list[Field]:
    """The variants of a field that `build` made, not `import` or another program."""
    mark = {"skeleton": "format", "strip": "tiles", "text": "encoder", "rgb": "encoder"}[name]
    opened = [cache.field(name, variant) for variant in cache.fields().get(name, [])]
    return [f for f in opened if mark in f.settings and "imported" not in f.info]
