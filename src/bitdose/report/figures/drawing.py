"""Figures as data to SVG and PNG, by matplotlib without its global state.

The same data give the same bytes: no date goes into the files and the ids in an SVG come
from a fixed salt. No text is read as a formula, whatever signs a label holds.
"""

from __future__ import annotations

import math
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from bitdose.report.figures.base import (
    Figure,
    FlipFigure,
    FlipPanel,
    ForestFigure,
    LineFigure,
    Matrix,
    MatrixFigure,
    Series,
)
from bitdose.report.figures.canvas import new_canvas, plain
from bitdose.report.figures.draw_forest import forest
from bitdose.report.figures.style import GRID, INK, MUTED, PRISTINE, RIGHT, WRONG, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_PNG_DPI = 200
_MAX_COUNTED_CLASSES = 8
_MATRICES_PER_ROW = 5
_LARGE_PER_ROW = 3
_SMALL = 6
_PANELS_PER_ROW = 2
_LONGEST_LABEL = 16
_LONGEST_POINT = 28
_DARK_SHARE = 0.55
_ROOM = 1.12
_WIDE_ROOM = 2.0
_FEWEST_CASES = 4
_RC: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9.5,
    "axes.unicode_minus": True,
    "figure.facecolor": "white",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "bitdose",
    "text.color": INK,
    "text.usetex": False,
    "xtick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.color": MUTED,
    "ytick.labelsize": 8.5,
}


class Drawing(NamedTuple):
    """A figure's files, as bytes."""

    svg: bytes
    png: bytes


def draw(figure: Figure) -> Drawing:
    """Draw a figure.

    Parameters
    ----------
    figure : LineFigure, MatrixFigure, FlipFigure or ForestFigure
        The data.

    Returns
    -------
    Drawing
        SVG (text as outlines, so that it looks alike everywhere) and PNG at 200 dpi.
    """
    import matplotlib as mpl

    with mpl.rc_context(_RC), warnings.catch_warnings():
        # A label in a script that the font lacks is drawn as boxes; the tables hold it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas = _canvas(figure)
        svg, png = BytesIO(), BytesIO()
        canvas.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        canvas.set_layout_engine("none")  # laid out once: doing it again takes as long as drawing
        canvas.savefig(png, format="png", dpi=_PNG_DPI, metadata={"Software": None})
    return Drawing(svg.getvalue(), png.getvalue())


def _canvas(figure: Figure) -> Canvas:
    if isinstance(figure, LineFigure):
        return _lines(figure)
    if isinstance(figure, ForestFigure):
        return forest(figure)
    return _matrices(figure) if isinstance(figure, MatrixFigure) else _flips(figure)


def _lines(figure: LineFigure) -> Canvas:
    from matplotlib.ticker import FuncFormatter

    canvas = new_canvas(5.6, 4.0)
    axes = canvas.add_subplot()
    scale = 100 if figure.percent else 1
    for reference in figure.references:
        if math.isfinite(reference.low) and math.isfinite(reference.high):
            axes.axhspan(reference.low * scale, reference.high * scale, color=PRISTINE, alpha=0.1, lw=0)
        rule = axes.axhline(reference.value * scale, label=plain(reference.name), color=PRISTINE, lw=1.1)
        rule.set_dashes((1, 1.6))
    for series in figure.series:
        _line(axes, series, scale)
    axes.grid(visible=True)
    axes.set_xlabel(plain(figure.x_title, 90))
    axes.set_ylabel(plain(figure.y_title))
    _ticks(axes, "x", [v for s in figure.series for v in s.x], log=figure.log_x)
    _ticks(axes, "y", [v for s in figure.series for v in s.y], log=figure.log_y)
    if figure.percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g} %"))
    if axes.get_legend_handles_labels()[0]:
        columns = min(3, len(figure.series) + len(figure.references))
        # A reserved strip outside the axes: no line is ever hidden behind the legend.
        canvas.legend(loc="outside lower center", ncols=columns, frameon=False, handlelength=3.2)
    return canvas


def _line(axes: Axes, series: Series, scale: float) -> None:
    style = style_of(series.name)
    y = [value * scale for value in series.y]
    limits = [
        (x, low * scale, high * scale)
        for x, low, high in zip(series.x, series.low, series.high, strict=True)
        if math.isfinite(x) and math.isfinite(low) and math.isfinite(high)
    ]
    if limits:
        at, low, high = zip(*limits, strict=True)
        axes.vlines(at, low, high, color=style.colour, lw=0.7, alpha=0.35)
    (line,) = axes.plot(
        series.x,
        y,
        color=style.colour,
        label=plain(series.name, _LONGEST_POINT),
        lw=1.5,
        marker=style.marker,
        markeredgecolor="white",
        markeredgewidth=0.5,
        ms=5.5,
    )
    if style.dash:
        line.set_dashes(style.dash)


def _ticks(axes: Axes, which: str, values: list[float], *, log: bool) -> None:
    """Give an axis room around its data and, if logarithmic, plain numbers at 1, 2 and 5."""
    known = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    axis = axes.xaxis if which == "x" else axes.yaxis
    if not log:
        axes.margins(0.06)
        return
    if not known:
        return
    if which == "x":
        axes.set_xscale("log")
    else:
        axes.set_yscale("log")
    # A chain within one doubling is shown on a wider axis, where round numbers fall.
    room = _ROOM if max(known) > 2 * min(known) else _WIDE_ROOM
    low, high = min(known) / room, max(known) * room
    ticks = log_ticks(low, high)
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    axis.set_ticks(ticks, labels=[f"{float(f'{tick:.3g}'):,.10g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def log_ticks(low: float, high: float) -> list[float]:
    """Choose ticks 1, 2, 5, 10, … in a positive range; three even ones where it holds fewer than two.

    Examples
    --------
    >>> log_ticks(8, 120)
    [10.0, 20.0, 50.0, 100.0]
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [1, 2, 5] if high / low < 1e4 else [1]  # noqa: PLR2004 -- more than four decades would crowd
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside if len(inside) > 1 else [low, math.sqrt(low * high), high]


def _matrices(figure: MatrixFigure) -> Canvas:
    count = len(figure.matrices)
    many = len(figure.labels) > _MAX_COUNTED_CLASSES
    rows = math.ceil(count / (_LARGE_PER_ROW if many else _MATRICES_PER_ROW))
    columns = math.ceil(count / rows)
    side = min(4.0, 0.17 * len(figure.labels)) if many else 1.75
    canvas = new_canvas(max(3.4, side * columns + 1.1), (side + 0.75) * rows + 0.9)
    grid = canvas.subplots(rows, columns, squeeze=False)
    names, at = [plain(label, _LONGEST_LABEL) for label in figure.labels], range(len(figure.labels))
    for index, axes in enumerate(grid.flat):
        if index >= count:
            axes.set_axis_off()
            continue
        _matrix(axes, figure.matrices[index], figure.labels)
        style = {"fontsize": _SMALL if many else 8.5}
        if index % columns == 0:
            axes.set_yticks(at, names, **style)
        if index + columns >= count:
            turn = {"rotation": 90 if many else 40, "ha": "right", "rotation_mode": "anchor"}
            axes.set_xticks(at, names, **turn, **style, va="center" if many else "baseline")
    canvas.supxlabel("Predicted", fontsize=9)
    canvas.supylabel("True", fontsize=9)
    return canvas


def _matrix(axes: Axes, matrix: Matrix, labels: tuple[str, ...]) -> None:
    """Shade each cell by its share of the true class and write the count into it."""
    shares = [[cell / max(1, sum(row)) for cell in row] for row in matrix.counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(GRID)
    axes.tick_params(length=0)
    axes.set_title(f"{plain(matrix.name, _LONGEST_POINT)}\n", fontsize=8.5, fontweight="bold", pad=1)
    note: dict[str, Any] = {
        "ha": "center",
        "va": "bottom",
        "fontsize": 7,
        "color": MUTED,
        "transform": axes.transAxes,
    }
    axes.text(0.5, 1.02, plain(matrix.note.replace(", ", " · ")), **note)
    if len(labels) > _MAX_COUNTED_CLASSES:
        return
    for row, (counts, parts) in enumerate(zip(matrix.counts, shares, strict=True)):
        for column, (cell, share) in enumerate(zip(counts, parts, strict=True)):
            colour = "white" if share > _DARK_SHARE else INK
            weight = "bold" if row == column else "normal"
            style: dict[str, Any] = {"color": colour, "fontsize": 8.5, "fontweight": weight}
            axes.text(column, row, str(cell), ha="center", va="center", **style)


def _flips(figure: FlipFigure) -> Canvas:
    columns = min(_PANELS_PER_ROW, len(figure.panels))
    rows = math.ceil(len(figure.panels) / columns)
    canvas = new_canvas(3.6 * columns + 0.4, 2.3 * rows + 0.5)
    grid = canvas.subplots(rows, columns, squeeze=False, sharey=True)
    for index, axes in enumerate(grid.flat):
        if index < len(figure.panels):
            _flip_panel(axes, figure.panels[index])
        else:
            axes.set_axis_off()
    low, high = grid.flat[0].get_ylim()
    if not any(any(p.right_to_wrong) or any(p.wrong_to_right) for p in figure.panels):
        low, high = -1, _FEWEST_CASES
    grid.flat[0].set_ylim(low, high)
    canvas.supylabel("Cases", fontsize=9)
    handles, names = grid.flat[0].get_legend_handles_labels()
    canvas.legend(handles, names, loc="outside upper left", ncols=2, frameon=False)
    return canvas


def _flip_panel(axes: Axes, panel: FlipPanel) -> None:
    """Draw harm above the line and help below it, so that their balance is seen at a glance."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    at = range(len(panel.labels))
    # An empty bar would still draw its outline.
    down = [-value or math.nan for value in panel.wrong_to_right]
    axes.bar(at, panel.right_to_wrong, color=WRONG, label="right to wrong", width=0.75)
    axes.bar(
        at, down, color="white", edgecolor=RIGHT, hatch="////", label="wrong to right", lw=0.8, width=0.75
    )
    axes.axhline(0, color=MUTED, lw=0.7)
    axes.grid(visible=True, axis="y")
    qualities = [plain(_quality(label), _LONGEST_LABEL) for label in panel.labels]
    axes.set_xticks(at, qualities, rotation=90 if len(qualities) > 6 else 0, fontsize=7.5)  # noqa: PLR2004
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):.0f}"))
    axes.set_title(plain(panel.name, _LONGEST_POINT), loc="left", fontweight="bold")


def _quality(point: str) -> str:
    """Leave of a point what its panel's title does not say: ``jpeg:q30@256`` gives ``q30``."""
    return point.partition(":")[2].partition("@")[0].partition("+")[0] or point
