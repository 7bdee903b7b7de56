"""Tables of a report, as HTML and as Markdown. Whatever came from a run is escaped."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mmcl_train.scores.ensemble import Ensemble

from .findings import Findings
from .runs import FinishedRun

RUN_HEADER = (
    "run",
    "backbone",
    "stream",
    "method",
    "seed",
    "epochs",
    "top-1",
    "top-5",
    "mean class",
    "parameters",
)


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A table that scrolls by itself; the first `texts` columns to the left, the others to the right."""

    def cell(tag: str, column: int, text: str) -> str:
        kind = ' class="text"' if column < texts else ""
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{scope}{kind}>{escape(text)}</{tag}>"

    head = "".join(cell("th", n, text) for n, text in enumerate(header))
    body = "".join(f"<tr>{''.join(cell('td', n, text) for n, text in enumerate(row))}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """The same as Markdown; bars and angle brackets of names do not break it."""

    def line(cells: Sequence[str]) -> str:
        plain = (
            " ".join(c.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") for c in cells
        )
        return f"| {' | '.join(plain)} |"

    rule = "|" + "|".join(":---" if n < texts else "---:" for n in range(len(header))) + "|"
    return "\n".join([line(header), rule, *(line(row) for row in rows)])


def run_rows(runs: Sequence[FinishedRun]) -> list[list[str]]:
    """A row a run, in the order of `RUN_HEADER`."""
    rows = []
    for run in runs:
        about, parameters = run.scores.about, run.result.get("parameters")
        rows.append(
            [
                run.name,
                *run.kind,
                run.method,
                str(about.get("seed", "")),
                str(run.result.get("epochs", "")),
                f"{100 * run.accuracy.top1:.2f}",
                f"{100 * run.accuracy.top5:.2f}",
                f"{100 * run.accuracy.mean_class:.2f}",
                f"{parameters / 1e6:.2f} M"
                if isinstance(parameters, (int, float)) and abs(parameters) < 1e15
                else "",
            ]
        )
    return rows


def seed_rows(runs: Sequence[FinishedRun]) -> list[list[str]]:
    """Mean and spread (n − 1) of runs that differ in their seed alone, where there are two or more."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for run in runs:
        groups.setdefault((*run.kind, run.method), []).append(100 * run.accuracy.top1)
    return [
        [*kind, str(len(values)), f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"]
        for kind, values in groups.items()
        if len(values) > 1
    ]


def ensemble_rows(findings: Findings) -> list[list[str]]:
    """A row a run and one for the sum; weights equal, and fitted on val where they can be."""
    equal, fitted = findings.equal, findings.fitted
    if equal is None:
        return []
    rows = [
        [name, "1", f"{fitted.weights[n]:.3f}" if fitted else "–", *_percent(single.top1, single.top5)]
        for n, (name, single) in enumerate(zip(equal.names, equal.singles, strict=True))
    ]
    rows.append(["ensemble, equal weights", "", "", *_percent(equal.joint.top1, equal.joint.top5)])
    if fitted:
        rows.append(["ensemble, weights fitted on val", "", "", *_of(fitted)])
    return rows


ENSEMBLE_HEADER = ("scores", "equal", "fitted", "top-1", "top-5")
SEED_HEADER = ("backbone", "stream", "method", "runs", "top-1, mean ± spread")


def setting_rows(runs: Sequence[FinishedRun], section: str) -> tuple[list[list[str]], int]:
    """Dotted names and each run's value of `config`, `environment` or `fields`; how many rows differ come first."""
    flat = [dict(_flatten(getattr(run, section))) for run in runs]
    keys = sorted({key for each in flat for key in each})
    rows = [[key, *(_show(each[key]) if key in each else "–" for each in flat)] for key in keys]
    differ = [row for row in rows if len(set(row[1:])) > 1]
    same = [row for row in rows if len(set(row[1:])) == 1]
    return [*differ, *same], len(differ)


def comparison_text(findings: Findings) -> str:
    """One sentence on the difference from the baseline."""
    found = findings.comparison
    if found is None:
        return ""
    low, high = found.interval
    sure = "" if low <= 0 <= high else ", beyond chance"
    chances = ", ".join(f"{each.p:.2g}" for each in found.mcnemar)
    if len(found.first.names) == len(found.second.names) == 1:
        p = f"; McNemar p = {chances}"
    else:
        p = f"; McNemar p, seed by seed: {chances}" if found.paired_by_seed else ""
    text = (
        f"{100 * found.difference:+.2f} points top-1 against the baseline ({100 * found.first.mean:.2f} and "
        f"{100 * found.second.mean:.2f} on {found.samples} samples); 95 % interval {100 * low:+.2f} to "
        f"{100 * high:+.2f}{sure}{p}"
    )
    return re.sub(r"(^| )-(?=\d)", r"\1−", text)


def _of(ensemble: Ensemble) -> list[str]:
    return _percent(ensemble.joint.top1, ensemble.joint.top5)


def _percent(*shares: float) -> list[str]:
    return ["" if math.isnan(share) else f"{100 * share:.2f}" for share in shares]


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _flatten(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
