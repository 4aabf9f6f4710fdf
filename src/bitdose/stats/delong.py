"""DeLong's intervals for an area under the ROC curve, and for two areas on the same cases."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitdose.stats.estimate import Estimate, undefined
from bitdose.stats.proportions import z_of

Floats = NDArray[np.float64]

_ROUNDING = 1e-24


def delong(positive: ArrayLike, score: ArrayLike, *, level: float = 0.95) -> Estimate:
    """AUROC with DeLong's variance, from mid-ranks, its interval on the logit scale.

    ``logit A ± z sd / (A (1 - A))``: near 1 the plain interval holds the truth far less often than its
    level says (``benchmarks/validity.py intervals``: 81 % for 95 % at A = 0.95 and n = 50).

    Parameters
    ----------
    positive : array_like
        ``(n_cases,)`` bool.
    score : array_like
        ``(n_cases,)`` float, higher for positive.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Estimate
        NaN with a reason where positives, negatives or a score are missing. The limits are NaN
        with a reason where there is one positive or one negative, or no spread (full
        separation). Cases are taken as independent, also where a patient has several.

    References
    ----------
    DeLong 1988, Biometrics 44:837, doi 10.2307/2531595; Sun & Xu 2014, IEEE SPL 21:1389,
    doi 10.1109/LSP.2014.2337313. Pepe 2003, The Statistical Evaluation of Medical Tests, 5.2.3 (logit).

    Examples
    --------
    >>> f"{delong([1, 1, 1, 0, 0, 0], [.9, .8, .3, .4, .2, .1]):.3f}"
    '0.889 (0.261 to 0.995)'
    """
    is_positive, scores = np.asarray(positive, bool), np.asarray(score, float)
    lacking = _lacking(is_positive, scores)
    if lacking:
        return undefined(lacking, level=level)
    area, *parts = _components(is_positive, scores)
    plain = _interval(area, parts, level, (-math.inf, math.inf))
    if math.isnan(plain.low) or not 0 < area < 1:
        return plain
    half, odds = (plain.high - area) / (area * (1 - area)), math.log(area / (1 - area))
    low, high = (1 / (1 + math.exp(-end)) for end in (odds - half, odds + half))
    return replace(plain, low=low, high=high, method="delong-logit")


def delong_difference(
    positive: ArrayLike, score_a: ArrayLike, score_b: ArrayLike, *, level: float = 0.95
) -> Estimate:
    """AUROC of the first score minus that of the second on the same cases, by DeLong's variance.

    Parameters
    ----------
    positive : array_like
        ``(n_cases,)`` bool.
    score_a, score_b : array_like
        ``(n_cases,)`` float, higher for positive.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Estimate
        In [-1, 1]; undefined as :func:`delong` is, and without limits where both scores rank
        all pairs alike. Cases are taken as independent, also where a patient has several.

    References
    ----------
    DeLong 1988, Biometrics 44:837, doi 10.2307/2531595.

    Examples
    --------
    >>> kinds = [1, 1, 1, 0, 0, 0]
    >>> f"{delong_difference(kinds, [.9, .8, .3, .4, .2, .1], [.9, .3, .2, .8, .4, .1]):.3f}"
    '0.333 (-0.200 to 0.867)'
    """
    is_positive = np.asarray(positive, bool)
    scores = [np.asarray(score, float) for score in (score_a, score_b)]
    lacking = _lacking(is_positive, *scores)
    if lacking:
        return undefined(lacking, level=level)
    (area_a, *parts_a), (area_b, *parts_b) = (_components(is_positive, one) for one in scores)
    parts = [a - b for a, b in zip(parts_a, parts_b, strict=True)]
    return _interval(area_a - area_b, parts, level, (-1.0, 1.0))


def _lacking(is_positive: NDArray[np.bool_], *scores: Floats) -> str:
    """Say what an area cannot be had for the want of, if anything."""
    if is_positive.all() or not is_positive.any():
        return "no negative case" if is_positive.any() else "no positive case"
    return "a case has no score" if any(np.isnan(score).any() for score in scores) else ""


def _components(is_positive: NDArray[np.bool_], scores: Floats) -> tuple[float, Floats, Floats]:
    """Return the area, the share that each positive outranks and the share that outranks each negative."""
    from scipy.stats import rankdata

    m, n = int(is_positive.sum()), int((~is_positive).sum())
    ranks = rankdata(scores)
    above = (ranks[is_positive] - rankdata(scores[is_positive])) / n
    below = 1 - (ranks[~is_positive] - rankdata(scores[~is_positive])) / m
    return float(above.mean()), above, below


def _interval(value: float, parts: list[Floats], level: float, ends: tuple[float, float]) -> Estimate:
    """Return the normal interval with the variance of the two parts' means, cut off at the ends."""
    n, fewest = sum(part.size for part in parts), min(part.size for part in parts)
    variance = sum(float(part.var(ddof=1)) / part.size for part in parts) if fewest > 1 else 0.0
    if variance <= _ROUNDING:
        why = "one positive or negative case" if fewest == 1 else "the scores show no spread to judge by"
        return Estimate(value, math.nan, math.nan, level, "delong", n, reason=f"limits undefined: {why}")
    half = z_of(level) * math.sqrt(variance)
    return Estimate(value, max(ends[0], value - half), min(ends[1], value + half), level, "delong", n)
