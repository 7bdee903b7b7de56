"""One plot for the page, light and dark, and for a paper.

A plot is drawn with the colours it is given. In the page these are markers, which become variables of the style
sheet; in a PNG they are a paper's.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Colours:
    """ink: text; soft: less important; line: axes and grid; series: accent first."""

    ink: str
    soft: str
    line: str
    series: tuple[str, ...]

    @property
    def accent(self) -> str:
        return self.series[0]


@dataclass(frozen=True)
class Plot:
    """width and height in inches; `draw` fills an empty figure."""

    width: float
    height: float
    draw: Callable[[Figure, Colours], None]


MARKERS = Colours(
    "#010101", "#020202", "#030303", ("#040404", "#050505", "#060606", "#070707", "#080808", "#090909")
)
VARIABLES = {
    MARKERS.ink: "--ink",
    MARKERS.soft: "--soft",
    MARKERS.line: "--line",
    **{marker: f"--s{n}" for n, marker in enumerate(MARKERS.series)},
}
PAPER = Colours(
    "#1d1f21", "#6a6e73", "#dcdcd7", ("#0b6e6e", "#b5651d", "#5b5ea6", "#8a8d3b", "#a23b5e", "#3f7fb5")
)


def to_svg(plot: Plot, prefix: str) -> str:
    """SVG markup to stand in a page, as wide as the page lets it; ids begin with `prefix`."""
    file = io.StringIO()
    with matplotlib.rc_context(_style(MARKERS)):
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        FigureCanvasSVG(_fill(plot, MARKERS)).print_svg(file, metadata=metadata)
    text = file.getvalue()
    head, tail = text[text.index("<svg") :].split(">", 1)
    head = re.sub(r'\s(?:width|height)="[^"]*"', "", head)
    for marker, variable in VARIABLES.items():
        tail = tail.replace(marker, f"var({variable})")
    tail = re.sub(r'(<[a-z][^>]*?\sid=")', rf"\g<1>{prefix}-", tail)
    tail = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", tail)
    return f"{head}>{tail}"


def write_png(plot: Plot, path: Path, dpi: int = 200) -> None:
    """The same on white, for slides and papers."""
    with matplotlib.rc_context(_style(PAPER)):
        figure = _fill(plot, PAPER)
        figure.canvas.print_figure(path, dpi=dpi, facecolor="white", format="png")


def _fill(plot: Plot, colours: Colours) -> Figure:
    figure = Figure(figsize=(plot.width, plot.height), layout="constrained")
    FigureCanvasAgg(figure)
    plot.draw(figure, colours)
    return figure


def _style(colours: Colours) -> dict[Any, Any]:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "mmcl",
        "text.parse_math": False,  # names of classes and runs are not formulas
        "font.size": 8,
        "text.color": colours.ink,
        "axes.edgecolor": colours.line,
        "axes.labelcolor": colours.soft,
        "axes.titlecolor": colours.ink,
        "axes.titlesize": 8.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": colours.line,
        "grid.linewidth": 0.5,
        "xtick.color": colours.line,
        "ytick.color": colours.line,
        "xtick.labelcolor": colours.soft,
        "ytick.labelcolor": colours.soft,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "legend.frameon": False,
        "legend.fontsize": 7.5,
        "lines.linewidth": 1.5,
        "figure.facecolor": "none",
    }
