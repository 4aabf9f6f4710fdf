"""From a decision and a summary to forest plots as data: what each point costs, against the margin."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from bitdose.decision.base import Decision, MarginTest, PointTest
from bitdose.report.figures.base import ForestFigure, ForestGroup, ForestRow
from bitdose.report.findings.phrasing import metric_words, shown_amount
from bitdose.report.findings.sentences import MARGIN, signed
from bitdose.results.summary import PointSummary, Summary
from bitdose.rule.margins import Margin

_NOT_IN_FILES = re.compile(r"[^\w.-]")
_BEYOND = 5.0
_ROOM = 1.06
_EDGE = 0.05


def forest_figures(decision: Decision, summary: Summary) -> tuple[ForestFigure, ...]:
    """Return the accuracy of every point first, then one figure per margin of the points tested.

    Parameters
    ----------
    decision : Decision
        What was decided.
    summary : Summary
        Of the same results.

    Returns
    -------
    tuple of ForestFigure
        The first has two-sided intervals at the summary's level; the others the one-sided upper
        limits that decided. Nothing where no point was coded.
    """
    if not summary.chains():
        return ()
    tested = tuple(_tested(decision, margin, place) for place, margin in enumerate(decision.rule.margins))
    return (_all_points(decision, summary), *(figure for figure in tested if figure.groups))


def reach(rows: Iterable[ForestRow], margin: float, *, rate: bool = False) -> tuple[float, float]:
    """Choose what the axis shows: all limits, but at most five margins either way.

    A point that collapses would otherwise squeeze the ones that matter onto the zero line. A ``rate``
    has nothing below zero.

    Examples
    --------
    >>> low, high = reach([ForestRow("jpeg:q1", "jpeg", 0.6, 0.5, 0.7, passed=False)], 0.02)
    >>> round(low, 3), round(high, 3)
    (-0.02, 0.1)
    """
    unit = margin if math.isfinite(margin) else MARGIN
    ends = [value for row in rows for value in (row.loss, row.low, row.high) if math.isfinite(value)]
    low = _EDGE * unit if rate else min(max(unit, -_ROOM * min(ends, default=0.0)), _BEYOND * unit)
    high = min(max(2 * unit, _ROOM * max(ends, default=0.0)), _BEYOND * unit)
    return -low, high


def _all_points(decision: Decision, summary: Summary) -> ForestFigure:
    margin = next((m.limit for m in decision.rule.margins if m.name == "accuracy"), math.nan)
    passed = {test.point for chain in decision.chain_tests for test in chain.passed}
    best = decision.certified.point if decision.certified else ""
    groups = tuple(
        ForestGroup(chain, tuple(_difference(point, point.point in passed, best) for point in points))
        for chain, points in summary.chains().items()
    )
    level = f"{100 * summary.level:g} %"
    return ForestFigure(
        name="forest_all",
        title="What each point costs in accuracy",
        alt=f"Loss of accuracy of {sum(len(g.rows) for g in groups)} points with {level} intervals. "
        f"{_margin_words(margin)} {_alt(groups)}",
        x_title=f"Loss of accuracy, percentage points, with its {level} interval (right is worse)",
        groups=groups,
        margin=margin,
        reach=reach((row for group in groups for row in group.rows), margin),
        percent=True,
        filled="held every margin in its tests",
        hollow="failed or was not reached",
    )


def _difference(point: PointSummary, passed: bool, best: str) -> ForestRow:  # noqa: FBT001
    found = point.accuracy_difference
    loss, low, high = (0.0 - value for value in (found.value, found.high, found.low))
    note = f"undefined ({found.reason})" if math.isnan(loss) else signed(100 * loss)
    if math.isfinite(loss) and math.isfinite(low):
        note += f" ({signed(100 * low)} to {signed(100 * high)})"
    return ForestRow(point.point, point.chain, loss, low, high, passed, point.point == best, note)


def _tested(decision: Decision, margin: Margin, place: int) -> ForestFigure:
    best = decision.certified.point if decision.certified else ""
    groups = tuple(
        ForestGroup(chain.name, tuple(_limit(point, point.tests[place], best) for point in chain.tested))
        for chain in decision.chain_tests
        if chain.tested
    )
    percent, name = margin.kind.percent, metric_words(margin)
    unit = ", percent of cases" if margin.is_rate else ", percentage points" if percent else ""
    what = f"{name[0].upper()}{name[1:]}" if margin.is_rate else f"Loss of {name}"
    return ForestFigure(
        name=f"forest_{place + 1}_{_NOT_IN_FILES.sub('-', margin.name)}",
        title=f"{what}: the points that were tested",
        alt=f"{what} with one-sided upper limits. {_margin_words(margin.limit)} {_alt(groups)}",
        x_title=f"{what}{unit}, with the upper limit that decides",
        groups=groups,
        margin=margin.limit,
        reach=reach((row for group in groups for row in group.rows), margin.limit, rate=margin.is_rate),
        percent=percent,
        filled="limit below the margin",
        hollow="limit not below it",
    )


def _limit(point: PointTest, test: MarginTest, best: str) -> ForestRow:
    found = test.test
    if math.isnan(found.loss):
        note = f"undefined ({found.reason})"
    else:
        seen, upper = (shown_amount(value, test.margin, unit=False) for value in (found.loss, found.upper))
        note = f"{seen}, limit {upper}"
    return ForestRow(
        point.point, point.chain, found.loss, math.nan, found.upper, test.passed, point.point == best, note
    )


def _margin_words(margin: float) -> str:
    return "No margin was set." if math.isnan(margin) else f"The margin is {margin:g}."


def _alt(groups: Sequence[ForestGroup]) -> str:
    parts = [
        f"{group.name}: {sum(row.passed for row in group.rows)} of {len(group.rows)} filled, from "
        f"{_number(group.rows[0])} at {group.rows[0].label} to {_number(group.rows[-1])} "
        f"at {group.rows[-1].label}"
        for group in groups
        if group.rows
    ]
    return "; ".join(parts) + "."


def _number(row: ForestRow) -> str:
    return "undefined" if math.isnan(row.loss) else f"{row.loss:.3f}"
