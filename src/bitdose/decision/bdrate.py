"""BD-rate on a task metric, and why to distrust it: one chain's bytes against another's.

A task curve saturates (more bytes bring nothing once every answer is the pristine one) and is not
monotone. So a monotone curve is fitted first, of its plateaus only the cheapest point is kept, and
whatever the number then hides is said beside it. The honest headline stays the fewest bytes whose
loss is within the margin.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitdose.results.summary import PointSummary, Summary

Floats = NDArray[np.float64]

_LEAST_POINTS = 2
_USUAL_POINTS = 4
_LEAST_OVERLAP = 0.75
_GRID = 101


@dataclass(frozen=True)
class BdRate:
    """Average difference of bytes at equal score.

    Parameters
    ----------
    anchor, test : str
        The chains; the number is of ``test`` against ``anchor``.
    score : str
        The task metric.
    percent : float
        Negative: ``test`` needs fewer bytes. NaN where the curves share no score.
    overlap : float
        Share of the range of scores of both that they have in common, in [0, 1].
    warnings : tuple of str
        What makes the number doubtful; why it is NaN.
    """

    anchor: str
    test: str
    score: str
    percent: float
    overlap: float
    warnings: tuple[str, ...]


def bd_rates(summary: Summary, *, score: str = "accuracy") -> list[BdRate]:
    """Compare every chain with the first one by BD-rate; raises ``KeyError`` for an unknown score.

    Parameters
    ----------
    summary : Summary
        Of a study.
    score : str
        The task metric: one of all classes in ``metrics/catalogue.py``, of which higher is better.
    """
    curves = {name: _curve(points, score) for name, points in summary.chains().items()}
    names = list(curves)
    return [
        bd_rate(*curves[names[0]], *curves[name], anchor=names[0], test=name, score=score)
        for name in names[1:]
    ]


def bd_rate(
    anchor_bytes: ArrayLike,
    anchor_score: ArrayLike,
    test_bytes: ArrayLike,
    test_score: ArrayLike,
    *,
    anchor: str = "anchor",
    test: str = "test",
    score: str = "accuracy",
) -> BdRate:
    """Compare two curves of score over bytes.

    Parameters
    ----------
    anchor_bytes, test_bytes : array_like
        ``(n,)`` bytes per exam, any order; NaN entries are left out.
    anchor_score, test_score : array_like
        ``(n,)`` float, higher is better.
    anchor, test, score : str
        Names for the result.

    References
    ----------
    Bjøntegaard 2001, ITU-T VCEG-M33; piecewise cubic Hermite interpolation as in Herglotz 2022,
    arXiv 2202.12565 (package ``bjontegaard``).

    Examples
    --------
    >>> half = bd_rate([100, 200, 400, 800], [0.6, 0.7, 0.8, 0.9], [50, 100, 200, 400], [0.6, 0.7, 0.8, 0.9])
    >>> round(half.percent, 1), half.warnings
    (-50.0, ())
    """
    curves = [_monotone(anchor_bytes, anchor_score), _monotone(test_bytes, test_score)]
    doubts = [
        doubt for name, curve in zip((anchor, test), curves, strict=True) for doubt in _doubts(name, curve)
    ]
    overlap, low, high = _overlap(curves[0].score, curves[1].score)
    if min(len(curve.score) for curve in curves) < _LEAST_POINTS or not high > low:
        doubts.append("the curves share no range of scores: no BD-rate")
        return BdRate(anchor, test, score, math.nan, overlap, tuple(doubts))
    if overlap < _LEAST_OVERLAP:
        doubts.append(f"the curves share {100 * overlap:.0f} % of their range of scores")
    if _cross(curves[0], curves[1], low, high):
        doubts.append("the curves cross: which chain is better depends on the score")
    return BdRate(anchor, test, score, _percent(curves[0], curves[1]), overlap, tuple(doubts))


@dataclass(frozen=True)
class _Curve:
    """A strictly rising curve, and what was lost in making it one."""

    rate: Floats
    score: Floats
    n: int
    largest_change: float


def _curve(points: Sequence[PointSummary], score: str) -> tuple[list[float], list[float]]:
    return [p.coded_bytes_per_case for p in points], [p.estimates[score].value for p in points]


def _monotone(rate: ArrayLike, score: ArrayLike) -> _Curve:
    from scipy.optimize import isotonic_regression

    x, y = np.asarray(rate, float), np.asarray(score, float)
    known = np.isfinite(x) & np.isfinite(y) & (x > 0)
    x, y = x[known], y[known]
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    if not x.size:
        return _Curve(x, y, 0, 0.0)
    fitted = np.asarray(isotonic_regression(y).x)
    rises = np.concatenate([[True], np.diff(fitted) > 1e-12])  # noqa: PLR2004
    return _Curve(x[rises], fitted[rises], x.size, float(np.abs(fitted - y).max()))


def _doubts(name: str, curve: _Curve) -> list[str]:
    found = []
    if curve.largest_change > 0:
        found.append(f"{name} is not monotone: fitted, changed by up to {curve.largest_change:.3f}")
    if len(curve.score) < min(_USUAL_POINTS, curve.n) or (curve.n and curve.n < _USUAL_POINTS):
        found.append(f"{name} saturates or is short: {len(curve.score)} of {curve.n} points are left")
    return found


def _overlap(first: Floats, second: Floats) -> tuple[float, float, float]:
    if not first.size or not second.size:
        return 0.0, math.nan, math.nan
    low, high = max(first[0], second[0]), min(first[-1], second[-1])
    whole = max(first[-1], second[-1]) - min(first[0], second[0])
    return (max(0.0, float((high - low) / whole)) if whole > 0 else 0.0), float(low), float(high)


def _cross(first: _Curve, second: _Curve, low: float, high: float) -> bool:
    from scipy.interpolate import PchipInterpolator

    at = np.linspace(low, high, _GRID)
    one, two = (PchipInterpolator(curve.score, np.log(curve.rate))(at) for curve in (first, second))
    gap = one - two
    return bool((gap > 1e-9).any() and (gap < -1e-9).any())  # noqa: PLR2004


def _percent(anchor: _Curve, test: _Curve) -> float:
    import bjontegaard

    with warnings.catch_warnings():  # its warning of little overlap is ours already
        warnings.simplefilter("ignore")
        found = bjontegaard.bd_rate(
            anchor.rate,
            anchor.score,
            test.rate,
            test.score,
            "pchip",
            require_matching_points=False,
            min_overlap=0,
        )
    return float(found)
