"""DeLong's interval for an area under the ROC curve."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from bitdose.stats.estimate import Estimate, undefined
from bitdose.stats.proportions import z_of


def delong(positive: ArrayLike, score: ArrayLike, *, level: float = 0.95) -> Estimate:
    """AUROC with DeLong's variance, from mid-ranks, clipped to [0, 1].

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
    doi 10.1109/LSP.2014.2337313.

    Examples
    --------
    >>> f"{delong([1, 1, 1, 0, 0, 0], [.9, .8, .3, .4, .2, .1]):.3f}"
    '0.889 (0.581 to 1.000)'
    """
    from scipy.stats import rankdata

    is_positive = np.asarray(positive, bool)
    scores = np.asarray(score, float)
    m, n = int(is_positive.sum()), int((~is_positive).sum())
    if not m or not n:
        return undefined("no positive case" if not m else "no negative case", level=level)
    if np.isnan(scores).any():
        return undefined("a case has no score", level=level)
    ranks = rankdata(scores)
    above = (ranks[is_positive] - rankdata(scores[is_positive])) / n
    below = 1 - (ranks[~is_positive] - rankdata(scores[~is_positive])) / m
    area = float(above.mean())
    variance = sum(float(part.var(ddof=1)) / part.size for part in (above, below)) if min(m, n) > 1 else 0.0
    if variance == 0:
        why = "one positive or negative case" if min(m, n) == 1 else "the scores show no spread to judge by"
        return Estimate(area, math.nan, math.nan, level, "delong", m + n, reason=f"limits undefined: {why}")
    half = z_of(level) * math.sqrt(variance)
    return Estimate(area, max(0.0, area - half), min(1.0, area + half), level, "delong", m + n)
