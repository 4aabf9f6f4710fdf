"""What a comparison of two runs says: a sentence per point, and its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bitdose.report.findings.phrasing import point_words
from bitdose.report.findings.sentences import counted, signed
from bitdose.results.comparison import ComparedPoint, RunComparison
from bitdose.results.schema import PRISTINE
from bitdose.stats.estimate import Estimate


def comparison_sentences(found: RunComparison) -> list[str]:
    """Say how two runs compare: first how they were compared, then one sentence per point."""
    return [_how(found), *(_point(found, point) for point in found.points)]


def comparison_rows(found: RunComparison) -> list[dict[str, Any]]:
    """Flatten a comparison: one row per point, an estimate as value, limits, n, unit and method."""
    return [_row(found, point) for point in found.points]


def all_rows(comparisons: Sequence[RunComparison]) -> list[dict[str, Any]]:
    """Flatten several comparisons into one table."""
    return [row for found in comparisons for row in comparison_rows(found)]


def _how(found: RunComparison) -> str:
    if not found.paired:
        return (
            f"{found.second} ({counted(found.n_second, 'case')}) and {found.first} "
            f"({counted(found.n_first, 'case')}) have no case in common: they are compared as two samples."
        )
    left_out = max(found.n_first, found.n_second) - found.n_common
    aside = f"; {counted(left_out, 'case')} of one run only are left out" if left_out else ""
    return (
        f"{found.second} against {found.first}, paired: each of {counted(found.n_common, 'case')} is "
        f"compared with itself{aside}."
    )


def _point(found: RunComparison, point: ComparedPoint) -> str:
    where = "Pristine" if point.point == PRISTINE else point_words(point.point)
    if math.isnan(point.difference.value):
        return f"{where}: not compared, {point.difference.reason}."
    said = (
        f"{where}: {found.second} is right on {_percent(point.second)}, {found.first} on "
        f"{_percent(point.first)}: {_points(point.difference)}"
    )
    if point.only_first >= 0:
        said += (
            f"; {point.only_second} right with {found.second} alone, {point.only_first} with {found.first}"
        )
    if point.point == PRISTINE:
        return f"{said}."
    return f"{said}. Compression costs {found.second} {_costs(point.cost)} than {found.first}."


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} %"


def _points(estimate: Estimate) -> str:
    limits = (
        estimate.reason
        if math.isnan(estimate.low)
        else f"{signed(100 * estimate.low)} to {signed(100 * estimate.high)}"
    )
    return f"{signed(100 * estimate.value)} points ({limits})"


def _costs(cost: Estimate) -> str:
    """Say how much more or less a point costs; the limits are of the cost, positive where it costs more."""
    more, low, high = (0.0 - 100 * value for value in (cost.value, cost.high, cost.low))
    limits = cost.reason if math.isnan(low) else f"{signed(low)} to {signed(high)}"
    return f"{abs(more):.1f} points {'less' if more < 0 else 'more'} ({limits})"


def _row(found: RunComparison, point: ComparedPoint) -> dict[str, Any]:
    row: dict[str, Any] = {
        "first": found.first,
        "second": found.second,
        "paired": found.paired,
        "point": point.point,
        "chain": point.chain,
        "ratio_file": point.ratio_file,
        "only_first": point.only_first if found.paired else None,
        "only_second": point.only_second if found.paired else None,
    }
    estimates = {
        "accuracy_first": point.first,
        "accuracy_second": point.second,
        "accuracy_difference": point.difference,
        "cost_difference": point.cost,
    }
    for name, estimate in estimates.items():
        row |= estimate.columns(name)
    return row
