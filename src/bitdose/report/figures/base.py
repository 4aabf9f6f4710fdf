"""What a figure is before it is drawn: plain frozen values, NaN where nothing is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """One line: a chain and its points, weakest compression first.

    ``x``, ``y``, ``low``, ``high`` and ``labels`` have one entry per point. A NaN in ``x`` or
    ``y`` is a gap in the line; NaN limits leave the interval out.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ReferenceLine:
    """A horizontal line with its interval, such as the pristine accuracy."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LineFigure:
    """Lines against a common axis. ``name`` is the stem of the files, ``alt`` the figure in words."""

    name: str
    title: str
    alt: str
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    references: tuple[ReferenceLine, ...] = ()
    log_x: bool = True
    log_y: bool = False
    percent: bool = False


@dataclass(frozen=True)
class Matrix:
    """One confusion matrix: ``counts[true][predicted]`` in the order of the figure's labels."""

    name: str
    note: str
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class MatrixFigure:
    """Confusion matrices side by side."""

    name: str
    title: str
    alt: str
    labels: tuple[str, ...]
    matrices: tuple[Matrix, ...]


@dataclass(frozen=True)
class FlipPanel:
    """The flips of one chain: one entry per point, weakest compression first."""

    name: str
    labels: tuple[str, ...]
    right_to_wrong: tuple[int, ...]
    wrong_to_right: tuple[int, ...]


@dataclass(frozen=True)
class FlipFigure:
    """Flips per point, one panel per chain on one scale."""

    name: str
    title: str
    alt: str
    panels: tuple[FlipPanel, ...]


@dataclass(frozen=True)
class ForestRow:
    """One point in a forest plot: a loss with its limits, and what it is called.

    ``chain`` gives it its look. ``low`` is NaN where the interval is one-sided; ``loss`` is NaN where
    nothing is known. ``passed`` fills the marker, ``marked`` sets the certified point off, ``note``
    stands at the right.
    """

    label: str
    chain: str
    loss: float
    low: float
    high: float
    passed: bool
    marked: bool = False
    note: str = ""


@dataclass(frozen=True)
class ForestGroup:
    """The rows of one chain or sequence of tests, weakest compression first."""

    name: str
    rows: tuple[ForestRow, ...]


@dataclass(frozen=True)
class ForestFigure:
    """Losses of many points against one margin, worse to the right.

    ``margin`` is NaN where none was set. ``reach`` is what the axis shows, lowest and highest loss;
    what lies beyond is drawn as an arrow at the edge, and its numbers stand in the note. ``filled``
    and ``hollow`` say what the two kinds of marker mean.
    """

    name: str
    title: str
    alt: str
    x_title: str
    groups: tuple[ForestGroup, ...]
    margin: float
    reach: tuple[float, float]
    percent: bool
    filled: str
    hollow: str


Figure = LineFigure | MatrixFigure | FlipFigure | ForestFigure
