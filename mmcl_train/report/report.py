"""`mmcl-train report`: reads runs, writes a folder with the page, its plots and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmcl_cache.store import Cache, MissingFieldError, UserError, open_cache
from mmcl_train.scores.metrics import class_accuracy

from .drawing import Plot, write_png
from .findings import Findings, find
from .page import Page, render_page
from .pictures import Pictures, read_pictures
from .plots import plot_changes, plot_classes, plot_confusion, plot_curves
from .runs import FinishedRun, read_run
from .tables import (
    ENSEMBLE_HEADER,
    RUN_HEADER,
    SEED_HEADER,
    comparison_text,
    ensemble_rows,
    markdown_table,
    run_rows,
    seed_rows,
)


@dataclass(frozen=True)
class ReportSettings:
    """What to report.

    Args:
        runs: run folders, in the order shown.
        baselines: run folders to compare with, usually the same without co-learning.
        cache: for strips and answers; None for the runs' own, where it is still there.
        out: folder to write; None for `report` in the first run.
        which: scores to report: test-last, test-best-val …
        num_pairs: pairs of classes to show.
    """

    runs: tuple[Path, ...]
    baselines: tuple[Path, ...] = ()
    cache: Path | None = None
    out: Path | None = None
    which: str = "test-last"
    num_pairs: int = 8


def write_report(settings: ReportSettings) -> list[Path]:
    """Write index.html, table.md and a PNG a plot. Returns what was written, the page first.

    Raises:
        UserError: a run without scores, runs of other samples, another data set's cache, a folder that cannot be made.
    """
    runs = [read_run(path, settings.which) for path in settings.runs]
    baselines = [read_run(path, settings.which) for path in settings.baselines]
    findings = find(runs, baselines, settings.num_pairs)
    cache, note = _open_cache(settings.cache, runs[0])
    pictures = _pictures(cache, runs[0], findings) if cache else Pictures()
    plots = _plots(runs, baselines, findings)
    page = Page(runs, baselines, findings, pictures, plots, settings.which, cache, note)
    out = settings.out or settings.runs[0] / "report"
    if out.is_file():
        raise UserError(f"--out {out} is a file; name a folder")
    written = [out / "index.html", out / "table.md", *(out / f"{name}.png" for name in plots)]
    try:
        out.mkdir(parents=True, exist_ok=True)
        written[0].write_text(render_page(page), encoding="utf-8")
        written[1].write_text(_markdown(runs, baselines, findings, settings.which), encoding="utf-8")
        for name, plot in plots.items():
            write_png(plot, out / f"{name}.png")
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror})") from None
    return written


def _open_cache(path: Path | None, run: FinishedRun) -> tuple[Cache | None, str]:
    """The cache and "", or None and why there is none. One that was asked for must be there."""
    if path is not None:
        return open_cache(path), ""
    data = run.config.get("data")
    own = str(data.get("cache") or "") if isinstance(data, dict) else ""
    if not own:
        return None, "The run does not say which cache it was trained on: give it with --cache."
    try:
        return open_cache(Path(own)), ""
    except MissingFieldError:
        return None, f"The cache {own} is not there any more: give it with --cache."


def _pictures(cache: Cache, run: FinishedRun, findings: Findings) -> Pictures:
    data = run.config.get("data")
    chosen = data if isinstance(data, dict) else {}
    ids = findings.sample_ids.tolist()
    pictured = [ids[row] for pair in findings.pairs for side in pair.samples for row in side]
    return read_pictures(
        cache,
        str(chosen.get("strip_variant", "default")),
        str(chosen.get("text_variant", "default")),
        pictured,
        ids,
    )


def _plots(
    runs: Sequence[FinishedRun], baselines: Sequence[FinishedRun], findings: Findings
) -> dict[str, Plot]:
    curves = plot_curves(runs, baselines)
    if findings.comparison is not None:
        classes = plot_changes(findings.comparison.classes)
    else:
        classes = plot_classes(findings.classes, class_accuracy(findings.logits, findings.labels))
    found = {"curves": curves} if curves is not None else {}
    return {**found, "classes": classes, "confusion": plot_confusion(findings.matrix, findings.classes)}


def _markdown(
    runs: Sequence[FinishedRun], baselines: Sequence[FinishedRun], findings: Findings, which: str
) -> str:
    rows = run_rows([*runs, *baselines])
    parts = [f"Scores: {which}, {len(findings.labels)} samples.", markdown_table(RUN_HEADER, rows, 4)]
    seeds = seed_rows([*runs, *baselines])
    if seeds:
        parts.append(markdown_table(SEED_HEADER, seeds, 3))
    ensemble = ensemble_rows(findings)
    if ensemble:
        parts.append(markdown_table(ENSEMBLE_HEADER, ensemble))
    told = comparison_text(findings)
    if told:
        parts.append(f"{told}.")
    return "\n\n".join(parts) + "\n"
