"""Tables of ensembles and comparisons as plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .compare import ClassChange, Comparison, Group
from .ensemble import Ensemble


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join([first, *others]).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *(line(row) for row in rows)])


def format_ensemble(ensemble: Ensemble) -> str:
    """Single files and the ensemble, one below the other, in percent."""
    rows = [
        [name, f"{weight:.4f}", f"{100 * single.top1:.2f}", f"{100 * single.top5:.2f}"]
        for name, weight, single in zip(ensemble.names, ensemble.weights, ensemble.singles, strict=True)
    ]
    rows.append(["ensemble", "", f"{100 * ensemble.joint.top1:.2f}", f"{100 * ensemble.joint.top5:.2f}"])
    return format_table(["scores", "weight", "top-1", "top-5"], rows)


def format_comparison(comparison: Comparison, num_classes: int = 5) -> str:
    """All of a comparison, in percent and points."""
    low, high = comparison.interval
    drawn = "samples and pairs of equal seeds" if comparison.paired_by_seed else "samples and runs"
    parts = [
        f"A      {_group(comparison.first)}",
        f"B      {_group(comparison.second)}",
        f"A - B  {100 * comparison.difference:+.2f} points, 95 % interval [{100 * low:+.2f}, {100 * high:+.2f}] "
        f"(bootstrap over {drawn}; {comparison.samples} samples)",
        "",
        "McNemar, exact, run by run",
        format_table(
            ["A", "B", "only A right", "only B right", "p"],
            [
                [m.first, m.second, str(m.only_first), str(m.only_second), f"{m.p:.3g}"]
                for m in comparison.mcnemar
            ],
        ),
        "",
        f"classes that gained and lost most (of {len(comparison.classes)})",
        _format_classes(comparison.classes, num_classes),
    ]
    if comparison.pairs:
        rows = [
            [f"{p.label} taken for {p.taken_for}", str(p.count), *_shares(p.first, p.second, p.change)]
            for p in comparison.pairs
        ]
        header = ["pair of classes", "samples", "A %", "B %", "change"]
        parts += ["", "confusions that changed most", format_table(header, rows)]
    return "\n".join(parts)


def _format_classes(classes: Sequence[ClassChange], number: int) -> str:
    shown = classes if len(classes) <= 2 * number else [*classes[:number], *classes[-number:]]
    rows = [[c.name, str(c.count), *_shares(c.first, c.second, c.gain)] for c in shown]
    return format_table(["class", "samples", "A %", "B %", "gain"], rows)


def _group(group: Group) -> str:
    spread = "" if math.isnan(group.std) else f" ± {100 * group.std:.2f}"
    runs = ", ".join(f"{100 * value:.2f}" for value in group.top1)
    return (
        f"{100 * group.mean:.2f}{spread} top-1, {len(group.top1)} run{'s' * (len(group.top1) > 1)} ({runs})"
    )


def _shares(first: float, second: float, change: float) -> list[str]:
    return [f"{100 * first:.1f}", f"{100 * second:.1f}", f"{100 * change:+.1f}"]
