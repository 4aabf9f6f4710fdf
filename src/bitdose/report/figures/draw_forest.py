"""A forest plot: a row per point, its loss with limits, the margin as a line to stay left of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bitdose.report.figures.base import ForestFigure, ForestRow
from bitdose.report.figures.canvas import new_canvas, plain
from bitdose.report.figures.style import INK, MUTED, PRISTINE, WRONG, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_WIDTH = 7.4
_ROW_HEIGHT = 0.165
_REST_HEIGHT = 1.15
_LONGEST_LABEL = 30
_TEXT = 7.0
_CAP = 0.28


def forest(figure: ForestFigure) -> Canvas:
    """Draw a forest plot; rows run downwards, groups in their order, each under its name."""
    n_lines = sum(1 + len(group.rows) for group in figure.groups)
    canvas = new_canvas(_WIDTH, _REST_HEIGHT + _ROW_HEIGHT * max(4, n_lines))
    axes = canvas.add_subplot()
    scale = 100 if figure.percent else 1
    low, high = (scale * limit for limit in figure.reach)
    axes.axvline(0, color=PRISTINE, lw=0.9)
    if math.isfinite(figure.margin):
        rule = axes.axvline(scale * figure.margin, color=WRONG, lw=1.3)
        rule.set_dashes((4, 2))
        axes.axvspan(scale * figure.margin, high, color=WRONG, alpha=0.06, lw=0)
    line, labels = 0, []
    for group in figure.groups:
        labels.append((line, plain(group.name, _LONGEST_LABEL), True))
        for row in group.rows:
            line += 1
            _row(axes, line, row, (low, high), scale)
            labels.append((line, plain(row.label, _LONGEST_LABEL), row.marked))
        line += 1
    _frame(axes, figure, labels, max(line, 1), (low, high))
    _legend(canvas, figure)
    return canvas


def _row(axes: Axes, line: int, row: ForestRow, reach: tuple[float, float], scale: float) -> None:
    style = style_of(row.chain)
    loss, low, high = (scale * value for value in (row.loss, row.low, row.high))
    side: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": _TEXT}
    weight = "bold" if row.marked else "normal"
    axes.text(1.015, line, plain(row.note, 60), color=INK, fontweight=weight, **side)
    if not math.isfinite(loss):
        return
    left = low if math.isfinite(low) else loss
    right = high if math.isfinite(high) else loss
    axes.hlines(line, max(left, reach[0]), min(right, reach[1]), color=style.colour, lw=1.3)
    for limit in (low, high):
        if math.isfinite(limit) and reach[0] <= limit <= reach[1]:
            axes.vlines(limit, line - _CAP, line + _CAP, color=style.colour, lw=1.3)
    inside = reach[0] <= loss <= reach[1]
    # Beyond the axis the arrow says where the point is; it is no measured place.
    marker = style.marker if inside else (">" if loss > reach[1] else "<")
    place = min(max(loss, reach[0]), reach[1])
    face = style.colour if row.passed else "white"
    axes.plot([place], [line], marker, ms=5, mfc=face, mec=style.colour, mew=1.2, clip_on=False, zorder=3)
    if row.marked:
        axes.axhspan(line - 0.5, line + 0.5, color=PRISTINE, alpha=0.13, lw=0, zorder=0)


def _frame(
    axes: Axes, figure: ForestFigure, labels: list[tuple[int, str, bool]], n: int, reach: tuple[float, float]
) -> None:
    axes.set_xlim(*reach)
    axes.set_ylim(n - 0.2, -0.8)
    axes.set_yticks([place for place, _, _ in labels], [text for _, text, _ in labels], fontsize=_TEXT)
    for tick, (_, _, strong) in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if strong else "normal")
        tick.set_color(INK)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="x")
    axes.set_xlabel(plain(figure.x_title, 110))


def _legend(canvas: Canvas, figure: ForestFigure) -> None:
    """Say what filled, hollow and the dashed line mean, in grey: the shapes are those of the chains."""
    from matplotlib.lines import Line2D

    dot: dict[str, Any] = {"color": MUTED, "marker": "o", "ls": "", "ms": 5, "mew": 1.2}
    handles = [Line2D([], [], **dot, label=plain(figure.filled))]
    handles.append(Line2D([], [], **dot, mfc="white", label=plain(figure.hollow)))
    if math.isfinite(figure.margin):
        handles.append(Line2D([], [], color=WRONG, lw=1.3, dashes=(4, 2), label="margin"))
    canvas.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
