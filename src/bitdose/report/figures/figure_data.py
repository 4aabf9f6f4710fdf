"""From a summary to figures as data: which numbers go where, before anything is drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, get_args

from bitdose.codecs.base import CODECS, QualityParameter, title_of
from bitdose.errors import BitdoseError, UsageError
from bitdose.metrics.catalogue import METRICS
from bitdose.report.figures.base import (
    Figure,
    FlipFigure,
    FlipPanel,
    LineFigure,
    Matrix,
    MatrixFigure,
    ReferenceLine,
    Series,
)
from bitdose.report.findings.chosen_points import default_points
from bitdose.results.schema import PRISTINE
from bitdose.results.summary import PointSummary, Summary
from bitdose.stats.estimate import Estimate

Basis = Literal["file", "pixels"]
BASES: tuple[Basis, ...] = get_args(Basis)

_RATIO_TITLES = {
    "file": "Average compression ratio (source file bytes / coded bytes)",
    "pixels": "Average compression ratio (raw pixel bytes / coded bytes)",
}
_BASIS_WORDS = {"file": "of the source files", "pixels": "of the raw pixels"}
_QUALITY = re.compile(r":([A-Za-z]*)-?[0-9.]+([A-Za-z]*)")
_NOT_IN_FILES = re.compile(r"[^\w.-]")


def ratio_of(point: PointSummary, basis: Basis) -> float:
    """Return a point's average ratio (total over total) on a basis; NaN where nothing was coded."""
    return point.ratio_file if basis == "file" else point.ratio_pixels


def charted() -> tuple[str, ...]:
    """Return the metrics that are drawn against the ratio."""
    return tuple(name for name, metric in METRICS.items() if metric.charted)


def curve(summary: Summary, metric: str, basis: Basis) -> LineFigure:
    """Put a metric against the average ratio: a line per chain, pristine as reference.

    Parameters
    ----------
    summary : Summary
        The study.
    metric : str
        What is on the y axis, in its own unit: a metric of all classes in ``metrics/catalogue.py``.
    basis : {"file", "pixels"}
        What the ratio is of.

    Returns
    -------
    LineFigure
        Undefined points stay in as NaN, so that the line has a gap there.
    """
    word = METRICS[metric].title
    lines = tuple(
        _series(name, points, [ratio_of(p, basis) for p in points], [p.estimates[metric] for p in points])
        for name, points in summary.chains().items()
    )
    pristine = summary.pristine().estimates[metric]
    reference = ReferenceLine("pristine", pristine.value, pristine.low, pristine.high)
    return LineFigure(
        name=f"{metric}_{basis}",
        title=f"{word} against the compression ratio {_BASIS_WORDS[basis]}",
        alt=_curve_words(word, basis, lines, reference),
        x_title=_RATIO_TITLES[basis],
        y_title=word,
        series=lines,
        references=() if math.isnan(reference.value) else (reference,),
        percent=METRICS[metric].percent,
    )


def quality_curves(summary: Summary, basis: Basis) -> tuple[LineFigure, ...]:
    """Ratio against the codec's quality: one figure per codec and quality parameter, a line per chain.

    Qualities of different codecs share no scale, and neither do two parameters of one codec (a ratio
    and a PSNR asked for). Points without a quality are left out.
    """
    groups: dict[tuple[str, str], dict[str, list[PointSummary]]] = {}
    for name, points in summary.chains().items():
        for point in points:
            if point.quality is not None:
                chains = groups.setdefault((point.codec, _quality_unit(point.point)), {})
                chains.setdefault(name, []).append(point)
    return tuple(_quality_figure(codec, unit, chains, basis) for (codec, unit), chains in groups.items())


def confusions(summary: Summary, points: Sequence[str] | None = None) -> MatrixFigure:
    """Confusion matrices of chosen points side by side.

    Parameters
    ----------
    summary : Summary
        The study.
    points : sequence of str, optional
        Points in their text form; :func:`default_points` where not given.

    Raises
    ------
    UsageError
        If a point is not in the summary.
    """
    by_name = {p.point: p for p in summary.points}
    names = default_points(summary) if points is None else tuple(points)
    for name in names:
        if name not in by_name:
            raise UsageError(f"point {name!r} is not in this study, which has {', '.join(by_name)}")
    chosen = [by_name[name] for name in names]
    return MatrixFigure(
        name="confusion",
        title="Confusion matrices of chosen points",
        alt="Confusion matrices, true class by row and predicted class by column: "
        + "; ".join(f"{p.point} {_percent(p.accuracy.value)} right" for p in chosen)
        + ". The counts are in summary.csv.",
        labels=summary.labels,
        matrices=tuple(Matrix(p.point, _matrix_note(p), p.confusion) for p in chosen),
    )


def flip_bars(summary: Summary) -> FlipFigure:
    """Answers that changed against pristine: harmful and helpful, per point, a panel per chain."""
    panels = tuple(
        FlipPanel(
            name,
            tuple(p.point for p in points),
            tuple(p.flips.right_to_wrong for p in points),
            tuple(p.flips.wrong_to_right for p in points),
        )
        for name, points in summary.chains().items()
    )
    worst = "; ".join(
        f"{p.name} up to {max(p.right_to_wrong)} right to wrong and {max(p.wrong_to_right)} wrong to right"
        for p in panels
    )
    return FlipFigure("flips", "Answers changed against pristine", f"Bars per point. {worst}.", panels)


def all_figures(
    summary: Summary, *, bases: Sequence[Basis] = BASES, points: Sequence[str] | None = None
) -> tuple[Figure, ...]:
    """Return every figure that the summary can fill, the headline first."""
    matrices = confusions(summary, points)
    if not summary.chains():
        return (matrices,)
    some = [basis for basis in bases if any(math.isfinite(ratio_of(p, basis)) for p in summary.points)]
    bases = some or bases  # arrays have no source files to measure against
    curves = [curve(summary, metric, basis) for basis in bases for metric in charted()]
    qualities = [figure for basis in bases for figure in quality_curves(summary, basis)]
    return (*curves, matrices, flip_bars(summary), *qualities)


def _series(
    name: str, points: Sequence[PointSummary], x: Sequence[float], estimates: Sequence[Estimate]
) -> Series:
    return Series(
        name,
        tuple(x),
        tuple(e.value for e in estimates),
        tuple(e.low for e in estimates),
        tuple(e.high for e in estimates),
        tuple(p.point for p in points),
    )


def _quality_unit(point: str) -> str:
    found = _QUALITY.search(point)
    return (found[1] or found[2]) if found else ""


def _parameter(codec: str, unit: str) -> QualityParameter | None:
    """Find a codec's quality parameter; None for a codec that is not here, as of another lab's table."""
    try:
        known = CODECS.get(codec).quality_parameters
    except BitdoseError:
        return None
    return next((one for one in known if one.unit == unit), None)


def _quality_figure(codec: str, unit: str, chains: dict[str, list[PointSummary]], basis: Basis) -> LineFigure:
    lines = []
    for name, points in chains.items():
        qualities = tuple(math.nan if p.quality is None else p.quality for p in points)
        ratios = tuple(ratio_of(p, basis) for p in points)
        unknown = (math.nan,) * len(points)
        lines.append(Series(name, qualities, ratios, unknown, unknown, tuple(p.point for p in points)))
    ends = "; ".join(
        f"{line.name} from {_number(line.y[0])}:1 at {line.labels[0]} "
        f"to {_number(line.y[-1])}:1 at {line.labels[-1]}"
        for line in lines
    )
    parameter = _parameter(codec, unit)
    unknown_title = f"Quality ({unit})" if unit else "Quality"
    return LineFigure(
        name="_".join(_NOT_IN_FILES.sub("-", word) for word in ("ratio_quality", codec, unit, basis) if word),
        title=f"{title_of(codec)}: ratio {_BASIS_WORDS[basis]} against the quality",
        alt=f"Average compression ratio {_BASIS_WORDS[basis]} against the quality: {ends}.",
        x_title=(parameter.axis_title or parameter.meaning) if parameter else unknown_title,
        y_title="Average compression ratio",
        series=tuple(lines),
        log_x=parameter.is_wide if parameter else False,
        log_y=True,
    )


def _curve_words(word: str, basis: Basis, lines: Sequence[Series], reference: ReferenceLine) -> str:
    ends = "; ".join(
        f"{s.name} from {_number(s.y[0], 3)} at {_number(s.x[0])}:1 "
        f"to {_number(s.y[-1], 3)} at {_number(s.x[-1])}:1"
        for s in lines
    )
    against = f"{word} against the average ratio {_BASIS_WORDS[basis]}, log axis"
    return f"{against}. Pristine {_number(reference.value, 3)}; {ends}."


def _matrix_note(point: PointSummary) -> str:
    coded = point.point != PRISTINE and math.isfinite(point.ratio_file)
    ratio = f"{_number(point.ratio_file)}:1 of files, " if coded else ""
    return f"{ratio}{_percent(point.accuracy.value)} right"


def _percent(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{100 * value:.1f} %"


def _number(value: float, digits: int = 1) -> str:
    return "undefined" if math.isnan(value) else f"{value:.{digits}f}"
