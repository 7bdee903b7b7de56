"""The plots of a report: curves, confusion matrix, classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mmcl_train.scores.compare import ClassChange

from .drawing import Colours, Plot
from .runs import FinishedRun, curve

PANELS = (
    ("loss", "total loss, nats"),
    ("loss_classification", "classification, nats"),
    ("loss_contrastive", "contrastive (FAM), nats"),
    ("loss_refinement", "refinement (FRM), nats"),
    ("train_top1", "train top-1, %"),
    ("val_top1", "val top-1, %"),
    ("test_top1", "test top-1, %"),
)
DASHES = ("--", ":", "-.")
CELL = (0x2A / 255, 0x8F / 255, 0x8B / 255)  # of the confusion matrix: to be seen on white and on black
NAMED_CLASSES = 30  # a confusion matrix of more shows no names
SHOWN_CLASSES = 60


def plot_curves(runs: Sequence[FinishedRun], baselines: Sequence[FinishedRun]) -> Plot | None:
    """A panel for each loss and accuracy that was ever written, a line a run, baselines dashed; None without any."""
    every = [*runs, *baselines]
    panels = [(key, title) for key, title in PANELS if any(curve(run, key)[1] for run in every)]
    if not panels:
        return None
    if not {"loss_contrastive", "loss_refinement"} & {key for key, _ in panels}:
        panels = [
            (key, title) for key, title in panels if key != "loss_classification"
        ]  # it is the total loss
    columns = min(len(panels), 3)
    lines = -(-len(panels) // columns)

    def draw(figure: Figure, colours: Colours) -> None:
        for n, (key, title) in enumerate(panels):
            axes = figure.add_subplot(lines, columns, n + 1)
            axes.set_title(title)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            scale = 100 if key.endswith("top1") else 1
            for r, run in enumerate(every):
                epochs, values = curve(run, key)
                is_ours = r < len(runs)
                axes.plot(
                    epochs,
                    [scale * value for value in values],
                    color=colours.series[r % len(colours.series)] if is_ours else colours.soft,
                    linestyle="-" if is_ours else DASHES[(r - len(runs)) % len(DASHES)],
                    label=(run.name if is_ours else f"{run.name} (baseline)") if n == 0 else None,
                    marker="o" if len(values) < 8 else None,
                    markersize=2.5,
                )
            if n >= len(panels) - columns:
                axes.set_xlabel("epoch")
        figure.legend(loc="outside lower left", ncols=2)

    return Plot(7.6, 1.7 * lines + 0.35 + 0.18 * -(-len(every) // 2), draw)


def plot_confusion(matrix: NDArray[np.int64], classes: Sequence[str]) -> Plot:
    """Rows are labels, columns predictions, coloured by the share of the row; names and counts where there is room."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = np.empty((*shares.shape, 4))
    image[..., :3] = CELL
    image[..., 3] = shares**0.6  # a few confusions are to be seen as well
    count = len(classes)
    is_named = count <= NAMED_CLASSES
    size = min(max(0.27 * count, 2.0), 6.4)

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.add_subplot()
        axes.imshow(image, interpolation="none", aspect="equal")
        axes.grid(False)
        if not is_named:
            axes.set_xlabel("predicted label")
            axes.set_ylabel("label")
            return
        axes.tick_params(length=0, labelcolor=colours.ink)
        axes.set_xticks(range(count), [_short(name, 28) for name in classes], rotation=90)
        axes.set_yticks(range(count), [_short(name, 28) for name in classes])
        for row, column in zip(*(index.tolist() for index in np.nonzero(matrix)), strict=True):
            text = str(matrix[row, column])
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colours.ink)

    room = 1.6 if is_named else 0.5
    return Plot(size + room, size + room, draw)


def plot_changes(changes: Sequence[ClassChange], number: int = SHOWN_CLASSES) -> Plot:
    """Top-1 of each class without (ring) and with (dot), sorted by the gain; of more than `number` only both ends."""
    shown = list(changes)
    if len(shown) > number:
        shown = [*shown[: number // 2], *shown[-(number // 2) :]]

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.add_subplot()
        tint = [
            colours.accent if c.gain > 0 else colours.series[1] if c.gain < 0 else colours.soft for c in shown
        ]
        rows = range(len(shown))
        for y, change in enumerate(shown):
            axes.plot([100 * change.second, 100 * change.first], [y, y], color=tint[y], linewidth=2, zorder=2)
            axes.annotate(
                _signed(100 * change.gain),
                (1.02, y),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=7.5,
                color=tint[y],
            )
        without = [100 * c.second for c in shown]
        axes.scatter(
            without, rows, s=20, facecolors="none", edgecolors=colours.soft, zorder=3, label="baseline"
        )
        axes.scatter(
            [100 * c.first for c in shown], rows, s=16, color=colours.accent, zorder=4, label="these runs"
        )
        _name_rows(axes, [change.name for change in shown], colours)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)

    return Plot(6.4, 0.2 * len(shown) + 1.0, draw)


def plot_classes(names: Sequence[str], accuracy: NDArray[np.float64], number: int = SHOWN_CLASSES) -> Plot:
    """Top-1 of each class, worst first: what a report shows without a baseline."""
    order = [n for n in np.argsort(accuracy, kind="stable").tolist() if not np.isnan(accuracy[n])][:number]

    def draw(figure: Figure, colours: Colours) -> None:
        axes = figure.add_subplot()
        axes.barh(range(len(order)), [100 * accuracy[n] for n in order], color=colours.accent, height=0.6)
        _name_rows(axes, [names[n] for n in order], colours)

    return Plot(6.4, 0.2 * len(order) + 0.7, draw)


def _name_rows(axes: Axes, names: Sequence[str], colours: Colours) -> None:
    axes.set_yticks(range(len(names)), [_short(name, 40) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-2, 102)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0, labelcolor=colours.ink)
    axes.set_xlabel("top-1, %")


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−") if abs(points) >= 0.05 else "0"


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
