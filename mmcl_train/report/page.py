"""The report as HTML, without script. Whatever came from runs or a cache is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template

import numpy as np

from mmcl_cache.store import Cache, cache_fingerprint

from .drawing import Plot, to_svg
from .findings import ConfusedPair, Findings
from .pictures import Pictures
from .runs import FinishedRun
from .tables import (
    ENSEMBLE_HEADER,
    RUN_HEADER,
    SEED_HEADER,
    comparison_text,
    ensemble_rows,
    html_table,
    run_rows,
    seed_rows,
    setting_rows,
)

SHOWN_ANSWERS = 3
DESCRIBED = {
    "curves": "Losses and accuracies by epoch",
    "classes": "Top-1 of each class",
    "confusion": "Confusion matrix",
}


@dataclass(frozen=True)
class Page:
    """All that the page shows; `note` tells why there is no cache."""

    runs: Sequence[FinishedRun]
    baselines: Sequence[FinishedRun]
    findings: Findings
    pictures: Pictures
    plots: Mapping[str, Plot]
    which: str
    cache: Cache | None
    note: str


def render_page(page: Page) -> str:
    """The whole page."""
    runs, findings = page.runs, page.findings
    every = [*runs, *page.baselines]
    about = runs[0].scores.about
    told = " · ".join(str(about[key]) for key in ("dataset", "protocol") if about.get(key))
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    changed = comparison_text(findings)
    return Template(_template("report.html")).substitute(
        title=escape(f"{title}: report"),
        heading=escape(title),
        about=escape(f"{told} · {len(findings.labels)} samples · scores {page.which}".lstrip(" ·")),
        warning=_warning(page.which),
        headline=_headline(page),
        changed=f'<p class="changed">{escape(changed)}.</p>' if changed else "",
        style=_template("report.css"),
        runs=html_table(RUN_HEADER, run_rows(every), 4) + _seeds(every) + _ensemble(findings),
        curves=_figure(page, "curves", "No metrics.jsonl in these runs."),
        classes=_classes(page),
        confusion=_confusion(page),
        pairs=_pairs(page),
        settings=_settings(every),
        fingerprints=_fingerprints(page, every),
        environment=html_table(("", *(run.name for run in every)), setting_rows(every, "environment")[0], 99)
        if any(run.environment for run in every)
        else '<p class="none">No environment.json in these runs.</p>',
    )


def _template(name: str) -> str:
    return (resources.files("mmcl_train") / "report" / "templates" / name).read_text(encoding="utf-8")


def _warning(which: str) -> str:
    if not which.endswith("best-test"):
        return ""
    return '<p class="bad">The epoch was chosen by its own answer on the test split: not comparable.</p>'


def _headline(page: Page) -> str:
    """Top-1, top-5 and mean class accuracy: of the run, of the fitted or equal ensemble, or the mean over seeds."""
    found = page.findings
    best = found.fitted or found.equal
    if best is not None:
        label = (
            f"ensemble of {len(page.runs)}, {'weights fitted on val' if found.fitted else 'equal weights'}"
        )
        values = [
            (best.joint.top1, "top-1"),
            (best.joint.top5, "top-5"),
            (best.joint.mean_class, "mean class"),
        ]
    else:
        each = [run.accuracy for run in page.runs]
        label = f"mean of {len(each)} runs" if len(each) > 1 else page.runs[0].method
        values = [
            (float(np.mean([a.top1 for a in each])), "top-1"),
            (float(np.mean([a.top5 for a in each])), "top-5"),
            (float(np.mean([a.mean_class for a in each])), "mean class"),
        ]
    cells = "".join(f"<div><b>{100 * value:.1f}</b><span>{name}, %</span></div>" for value, name in values)
    return f'<div class="headline">{cells}<p class="meta">{escape(label)}</p></div>'


def _seeds(every: Sequence[FinishedRun]) -> str:
    rows = seed_rows(every)
    return f"<h3>Over seeds</h3>{html_table(SEED_HEADER, rows, 3)}" if rows else ""


def _ensemble(findings: Findings) -> str:
    rows = ensemble_rows(findings)
    if not rows:
        return ""
    why = f'<p class="meta">weights not fitted: {escape(findings.why)}</p>' if findings.why else ""
    return f"<h3>Ensemble</h3>{html_table(ENSEMBLE_HEADER, rows)}{why}"


def _figure(page: Page, name: str, none: str = "") -> str:
    if name not in page.plots:
        return f'<p class="none">{escape(none)}</p>'
    plot = page.plots[name]
    svg = to_svg(plot, name).replace("<svg", f'<svg role="img" aria-label="{DESCRIBED[name]}"', 1)
    width = round(plot.width * 96 * 1.1)
    return f'<div class="scroll"><figure class="plot" style="width:{width}px">{svg}</figure></div>'


def _classes(page: Page) -> str:
    found = page.findings.comparison
    if found is None:
        return '<p class="meta">Worst first. Give --baseline to see what co-learning gains.</p>' + _figure(
            page, "classes"
        )
    rows = [
        [c.name, str(c.count), f"{100 * c.first:.1f}", f"{100 * c.second:.1f}", f"{100 * c.gain:+.1f}"]
        for c in found.classes
    ]
    names = ", ".join(run.name for run in page.baselines)
    return (
        f'<p class="meta">{escape(page.findings.compared)} against {escape(names)}, means over the runs.</p>'
        + _figure(page, "classes")
        + "<details><summary>as a table</summary>"
        + html_table(("class", "samples", "these, %", "baseline, %", "gain"), rows)
        + "</details>"
    )


def _confusion(page: Page) -> str:
    of = "of the sum of the logits of the runs" if len(page.runs) > 1 else f"of {page.runs[0].name}"
    return (
        f'<p class="meta">Rows are labels, columns predictions, {escape(of)}.</p>{_figure(page, "confusion")}'
    )


def _pairs(page: Page) -> str:
    pairs = page.findings.pairs
    if not pairs:
        return '<p class="none">Nothing is confused.</p>'
    note = f'<p class="none">{escape(page.note)}</p>' if page.note else ""
    return note + "".join(_pair(page, pair) for pair in pairs)


def _pair(page: Page, pair: ConfusedPair) -> str:
    names = page.findings.classes
    sides = ((pair.first, pair.second, 0), (pair.second, pair.first, 1))
    columns = "".join(_side(page, pair, label, other, n) for label, other, n in sides)
    return (
        f'<section class="pair"><h3>{escape(names[pair.first])} <i>and</i> {escape(names[pair.second])}</h3>'
        f'<div class="sides">{columns}</div></section>'
    )


def _side(page: Page, pair: ConfusedPair, label: int, other: int, n: int) -> str:
    found = page.findings
    total = int((found.labels == label).sum())
    before = "" if pair.before is None else f" (baseline {pair.before[n]})"
    told = f"{pair.counts[n]} of {total} taken for {found.classes[other]}{before}"
    cards = "".join(_card(page, row, other) for row in pair.samples[n])
    return (
        f'<div><h4>{escape(found.classes[label])}</h4><p class="meta">{escape(told)}</p>'
        f'{_answered(page, label)}<div class="cards">{cards}</div></div>'
    )


def _answered(page: Page, label: int) -> str:
    """Shares of the answers that the samples of a class got, a line a question."""
    found, pictures = page.findings, page.pictures
    given = [pictures.answers.get(name) for name in found.sample_ids[found.labels == label].tolist()]
    there = [answers for answers in given if answers is not None]
    lines = []
    for n, question in enumerate(pictures.questions):
        counts = Counter(answers[n] for answers in there if n < len(answers))
        total = sum(counts.values())
        shares = ", ".join(
            f"{text or '(empty)'} {100 * count / total:.0f} %"
            for text, count in counts.most_common(SHOWN_ANSWERS)
        )
        if total:
            lines.append(f'<p class="answered">{escape(question)} <b>{escape(shares)}</b></p>')
    return "".join(lines)


def _card(page: Page, row: int, other: int) -> str:
    found, pictures = page.findings, page.pictures
    name = str(found.sample_ids[row])
    predicted = int(found.logits[row].argmax())
    is_wrong = predicted == other
    told = f"taken for {found.classes[other]}" if is_wrong else "right"
    strip, why = pictures.strips.get(name), pictures.missing.get(name)
    image = (
        f'<img loading="lazy" width="300" height="180" alt="strip of {escape(name)}" '
        f'src="data:image/jpeg;base64,{strip}">'
        if strip
        else f'<div class="gap">{escape(why)}</div>'
        if why
        else ""
    )
    answers = ", ".join(text or "(empty)" for text in pictures.answers.get(name, ()))
    said = f" <b>{escape(answers)}</b>" if answers else ""
    return (
        f'<figure class="card">{image}<figcaption><code>{escape(name)}</code>{said}'
        f'<span class="{"bad" if is_wrong else "right"}">{escape(told)}</span></figcaption></figure>'
    )


def _settings(every: Sequence[FinishedRun]) -> str:
    rows, differ = setting_rows(every, "config")
    if not rows:
        return '<p class="none">No config.json in these runs.</p>'
    header = ("setting", *(run.name for run in every))
    top = f"<h3>That differ</h3>{html_table(header, rows[:differ], 99)}" if differ else ""
    rest = rows[differ:] if len(every) > 1 else rows
    one = ("setting", "value" if len(every) == 1 else "all runs")
    return (
        f"{top}<details{' open' if len(every) == 1 else ''}><summary>{len(rest)} settings"
        f"{' alike' if len(every) > 1 else ''}</summary>"
        f"{html_table(one, [row[:2] for row in rest], 99)}</details>"
    )


def _fingerprints(page: Page, every: Sequence[FinishedRun]) -> str:
    rows, _ = setting_rows(every, "fields")
    rows = [["run", *(run.fingerprint or "–" for run in every)], *rows]
    header = ["", *(run.name for run in every)]
    if page.cache is not None:
        header.append("cache now")
        now = {
            f"{name}/{variant}": page.cache.field(name, variant).fingerprint
            for name, variants in page.cache.fields().items()
            for variant in variants
        }
        now["plan"] = cache_fingerprint(page.cache, [])
        rows = [[*row, now.get(row[0], "–")] for row in rows]
    short = [[row[0], *(cell[:16] for cell in row[1:])] for row in rows]
    return html_table(header, short, 99)
