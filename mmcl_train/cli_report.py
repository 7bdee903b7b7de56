"""The command that shows finished runs; heavy imports wait until it runs."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="RUN...")
@click.option(
    "--baseline", "baselines", multiple=True, type=PATH, help="Run to compare with; may be repeated."
)
@click.option("--cache", type=PATH, help="For strips and answers (default: the run's own, if still there).")
@click.option("--out", type=PATH, help="Folder to write (default: report in the first run).")
@click.option("--which", default="test-last", show_default=True, help="Scores to report: test-best-val …")
@click.option(
    "--pairs", type=click.IntRange(min=0), default=8, show_default=True, help="Pairs of classes to show."
)
def report(
    runs: tuple[Path, ...],
    baselines: tuple[Path, ...],
    cache: Path | None,
    out: Path | None,
    which: str,
    pairs: int,
) -> None:
    """A page of finished runs: curves, confusions with their strips, gain over a baseline, ensemble, settings.

    Several runs of one stream are repetitions, of several streams an ensemble. Plots are also written as PNG, the
    tables as Markdown.
    """
    from mmcl_train.report.report import ReportSettings, write_report

    for path in write_report(ReportSettings(runs, baselines, cache, out, which, pairs)):
        click.echo(f"written: {path}")
