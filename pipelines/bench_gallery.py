"""A gallery of many samples: size of the page, time to write it, time a browser takes to have it ready.

python -m pipelines.bench_gallery CACHE [--samples 1000]

The samples of CACHE are taken again under other ids until there are enough. The browser is Chromium without a window;
what it takes for an empty page is subtracted. Both the clock and the processor's time are shown.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import numpy as np

from mmcl_cache.gallery import GallerySettings, write_gallery
from mmcl_cache.store import Cache, SampleTable, create_cache, open_cache

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync", "--disable-dev-shm-usage",
    "--disable-component-update", "--disable-background-networking", "--no-first-run", "--dump-dom",
)  # fmt: skip
REPEATS = 5


def repeat_samples(cache: Cache, path: Path, count: int) -> Cache:
    """A cache of `count` samples made of those of another, every field variant with them."""
    table = cache.samples
    rows = np.arange(count) % len(table)
    ids = np.array([f"{table.sample_ids[row]}-{n // len(table)}" for n, row in enumerate(rows)])
    order = np.argsort(ids)
    rows, ids = rows[order], ids[order]
    repeated = SampleTable(
        ids,
        table.labels[rows],
        table.subjects[rows],
        table.cameras[rows],
        table.setups[rows],
        {name: codes[rows] for name, codes in table.splits.items()},
    )
    many = create_cache(path, cache.description, repeated, 256)
    source = dict(zip(ids.tolist(), table.sample_ids[rows].tolist(), strict=True))
    for name, variants in cache.fields().items():
        for variant in variants:
            old = cache.field(name, variant)
            new = many.add_field(name, variant, old.settings, old.columns)
            for shard in new.pending():
                wanted = new.shard_ids(shard).tolist()
                loaded = old.load(np.unique([source[each] for each in wanted]))
                held = {row.sample_id: row for row in loaded.rows()}
                new.write_shard(shard, [replace(held[source[each]], sample_id=each) for each in wanted])
    return many


def spend(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock, and of the processor with those of child processes."""

    def read() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    clock, processor = time.perf_counter(), read()
    call()
    return time.perf_counter() - clock, read() - processor


def open_page(browser: str, page: Path) -> str:
    """The document as markup after its script ran."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}", page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


@click.command()
@click.argument("cache", type=click.Path(path_type=Path, exists=True))
@click.option("--samples", default=1000, show_default=True)
def main(cache: Path, samples: int) -> None:
    """Print the figures."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as temporary:
        page, empty = Path(temporary) / "gallery.html", Path(temporary) / "empty.html"
        empty.write_text("<!doctype html><title>empty</title>")
        many = repeat_samples(open_cache(cache), Path(temporary) / "cache", samples)
        clock, processor = spend(lambda: write_gallery(many, page, GallerySettings(limit=samples)))
        click.echo(
            f"{samples} samples: {page.stat().st_size / 1e6:.1f} MB, {clock:.1f} s to write ({processor:.1f} s)"
        )
        if browser is None:
            click.echo("no Chromium here: not opened")
            return
        dom = open_page(browser, page)
        if 'data-ready="yes"' not in dom or dom.count('<article class="card"') != samples:
            raise SystemExit("the page did not become ready with all its cards")
        times = [[spend(partial(open_page, browser, each)) for _ in range(REPEATS)] for each in (page, empty)]
        ready, nothing = np.median(np.array(times), axis=1)
        clock, processor = ready - nothing
        click.echo(
            f"ready in Chromium {clock:.1f} s ({processor:.1f} s of the processor) after an empty page, which takes "
            f"{nothing[0]:.1f} s with the browser's start"
        )


if __name__ == "__main__":
    main()
