"""The figure of a comparison: what separates two runs, against the compression ratio."""

from __future__ import annotations

import math

from bitdose.report.figures.base import LineFigure, ReferenceLine, Series
from bitdose.results.comparison import ComparedPoint, RunComparison
from bitdose.results.schema import PRISTINE


def comparison_figure(found: RunComparison, number: int = 1) -> LineFigure:
    """Difference in accuracy against the ratio: a line per chain, the pristine difference as reference.

    Parameters
    ----------
    found : RunComparison
        Two runs.
    number : int
        Its place among several comparisons, for the file's name.
    """
    chains: dict[str, list[ComparedPoint]] = {}
    for point in found.points:
        if point.point != PRISTINE:
            chains.setdefault(point.chain, []).append(point)
    series = tuple(_series(name, points) for name, points in chains.items())
    pristine = next(point.difference for point in found.points if point.point == PRISTINE)
    reference = ReferenceLine("pristine", pristine.value, pristine.low, pristine.high)
    ends = "; ".join(
        f"{line.name} from {100 * line.y[0]:.1f} at {line.x[0]:.1f}:1 to {100 * line.y[-1]:.1f} "
        f"at {line.x[-1]:.1f}:1"
        for line in series
    )
    what = f"Accuracy of {found.second} minus accuracy of {found.first}"
    return LineFigure(
        name=f"comparison_{number}",
        title=f"Difference in accuracy, {found.second} minus {found.first}",
        alt=f"{what} in points, against the average ratio of files. {ends}.",
        x_title="Average compression ratio, files",
        y_title=f"Accuracy, {found.second} minus {found.first}",
        series=series,
        references=() if math.isnan(reference.value) else (reference,),
        percent=True,
    )


def _series(name: str, points: list[ComparedPoint]) -> Series:
    return Series(
        name,
        tuple(point.ratio_file for point in points),
        tuple(point.difference.value for point in points),
        tuple(point.difference.low for point in points),
        tuple(point.difference.high for point in points),
        tuple(point.point for point in points),
    )
