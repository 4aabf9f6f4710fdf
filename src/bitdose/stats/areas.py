"""Areas under the ROC curve beyond DeLong's interval: clustered areas, and differences of two.

The variance is DeLong's, computed between patients instead of cases (Obuchowski 1997) and corrected for
each patient's leverage, so that a patient with many images is not counted as several. With one case per
patient it equals DeLong's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitdose.stats.clusters import sum_of_squares, tango_at
from bitdose.stats.delong import Area, area_of, at_the_end, logit_limits
from bitdose.stats.estimate import Estimate, undefined

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_ROUNDING = 1e-24
_BLOCK = 32
_TOO_FEW = "limits undefined: all cases of one kind belong to one patient"


@dataclass(frozen=True)
class Spread:
    """Between-patient variance of an area, or of a difference of two.

    ``freedom`` is Satterthwaite's degrees of freedom; ``fewest`` the effective number of patients of the
    rarer kind.
    """

    variance: float
    freedom: float
    fewest: float


def spread_between(positive: Bools, influence: Floats, patients: NDArray[Any]) -> Spread:
    """Sum an area's variance over patients.

    ``V = Σ_j (P_j / sqrt(1 - p_j) + N_j / sqrt(1 - n_j))²`` with a patient's sums P and N of the
    influence of its positive and negative cases, and its shares p and n of all positive and all
    negative cases.

    Parameters
    ----------
    positive : numpy.ndarray
        ``(n_cases,)`` bool.
    influence : numpy.ndarray
        ``(n_cases,)`` float: influence of each case on the area, summing to zero within either kind.
    patients : numpy.ndarray
        ``(n_cases,)`` cluster of each case.

    Returns
    -------
    Spread
        NaN where all positive or all negative cases belong to one patient.

    References
    ----------
    Obuchowski 1997, Biometrics 53:567, doi 10.2307/2533958. Bell & McCaffrey 2002, Surv Methodol
    28:169 (leverage). Satterthwaite 1946, Biometrics 2:110, doi 10.2307/3002019.

    Examples
    --------
    >>> kinds, pull = np.array([True, True, False, False]), np.array([0.125, -0.125, -0.125, 0.125])
    >>> round(spread_between(kinds, pull, np.arange(4)).variance, 6)
    0.125
    """
    _, cluster = np.unique(patients, return_inverse=True)
    total, squares, freedoms, worth = np.zeros(cluster.max() + 1), [], [], []
    for kind in (positive, ~positive):
        cases = np.bincount(cluster[kind], minlength=total.size)
        share, count = cases / cases.sum(), int((cases > 0).sum())
        if count == 1:
            return Spread(math.nan, math.nan, math.nan)
        sums = np.bincount(cluster[kind], weights=influence[kind], minlength=total.size)
        part = sums / np.sqrt(1 - share)
        total += part
        squares.append(sum_of_squares(part))
        freedoms.append(count - 1)
        worth.append(1 / sum_of_squares(share))
    below = sum(square**2 / freedom for square, freedom in zip(squares, freedoms, strict=True))
    return Spread(
        variance=sum_of_squares(total),
        freedom=sum(squares) ** 2 / below if below > 0 else float(min(freedoms)),
        fewest=min(worth),
    )


def clustered_area(
    positive: ArrayLike, score: ArrayLike, patients: NDArray[Any], *, level: float = 0.95
) -> Estimate:
    """Clustered AUROC, its interval on the logit scale with Student's quantile.

    ``logit A ± t sqrt(V) / (A (1 - A))``. Full separation takes Wilson's interval at the number of
    patients of the rarer kind: an area's variance is at most ``A (1 - A)`` divided by it.

    Parameters
    ----------
    positive : array_like
        ``(n_cases,)`` bool.
    score : array_like
        ``(n_cases,)`` float, higher for positive.
    patients : numpy.ndarray
        ``(n_cases,)`` cluster of each case.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Estimate
        NaN with a reason where positives, negatives or a score are missing; NaN limits with a
        reason where all of a kind are of one patient, or where nothing tells a spread.

    References
    ----------
    As :func:`spread_between`; Birnbaum & Klose 1957, Ann Math Stat 28:933, doi
    10.1214/aoms/1177706794 (largest variance).

    Examples
    --------
    >>> kinds, scores = [1, 1, 1, 0, 0, 0], [.9, .8, .3, .4, .2, .1]
    >>> f"{clustered_area(kinds, scores, np.array([0, 0, 1, 2, 3, 3])):.3f}"
    '0.889 (0.000 to 1.000)'
    """
    return clustered_interval(area_of(positive, score), patients, level=level)


def clustered_interval(area: Area, patients: NDArray[Any], *, level: float = 0.95) -> Estimate:
    """Return the estimate of :func:`clustered_area` for an area that is known.

    Parameters
    ----------
    area : Area
        The area and its parts, from :func:`~bitdose.stats.delong.area_of`.
    patients : numpy.ndarray
        ``(n_cases,)`` cluster of each case.
    level : float
        Confidence level in (0, 1).
    """
    if area.reason:
        return undefined(area.reason, level=level, unit="patient")
    n, found = np.unique(patients).size, spread_between(area.positive, _influence(area), patients)
    bare = Estimate(area.value, math.nan, math.nan, level, "obuchowski-logit", n, "patient")
    if math.isnan(found.variance):
        return replace(bare, reason=_TOO_FEW)
    if not 0 < area.value < 1:
        return at_the_end(bare, found.fewest)
    if found.variance <= _ROUNDING:
        return replace(bare, reason="limits undefined: the scores have no spread")
    low, high = logit_limits(area.value, _student(level, found.freedom) * math.sqrt(found.variance))
    return replace(bare, low=low, high=high)


def area_difference(
    positive: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    patients: NDArray[Any] | None = None,
    *,
    level: float = 0.95,
) -> Estimate:
    """AUROC of the first score minus that of the second on the same cases.

    The difference is a mean over all pairs of a positive and a negative: the share of them that the
    first score alone ranks right, minus the share that the second alone ranks right (a tie counts half).
    The interval is Tango's at the effective number of pairs implied by DeLong's variance
    (``clusters.tango_at``). Unlike DeLong's it widens towards larger losses and stays within -1 and 1;
    DeLong's undercovers at small n: 90 % for 95 % at an area of 0.95 and n = 50. Without discordant
    pairs the effective number is the number of patients of the rarer kind, its lower bound.

    Parameters
    ----------
    positive : array_like
        ``(n_cases,)`` bool.
    score_a, score_b : array_like
        ``(n_cases,)`` float, higher for positive.
    patients : numpy.ndarray, optional
        ``(n_cases,)`` cluster of each case; by default each case is its own cluster.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Estimate
        In [-1, 1]; undefined as :func:`clustered_area` is.

    References
    ----------
    DeLong 1988, Biometrics 44:837, doi 10.2307/2531595 (variance). Tango 1998, Stat Med 17:891.

    Examples
    --------
    >>> kinds = [1, 1, 1, 0, 0, 0]
    >>> f"{area_difference(kinds, [.9, .8, .3, .4, .2, .1], [.9, .3, .2, .8, .4, .1]):.3f}"
    '0.333 (-0.415 to 0.792)'
    """
    first, second = (area_of(positive, score) for score in (score_a, score_b))
    return difference_interval(first, second, patients, level=level)


def difference_interval(
    first: Area, second: Area, patients: NDArray[Any] | None = None, *, level: float = 0.95
) -> Estimate:
    """Return the estimate of :func:`area_difference` for two areas that are known, of the same cases."""
    positive, why = first.positive, first.reason or second.reason
    unit, clusters = ("case", np.arange(positive.size)) if patients is None else ("patient", patients)
    if why:
        return undefined(why, level=level, unit=unit)
    value, n = first.value - second.value, positive.size if patients is None else np.unique(patients).size
    found = spread_between(positive, _influence(first) - _influence(second), clusters)
    if math.isnan(found.variance):
        why = _TOO_FEW if unit == "patient" else "limits undefined: one positive or negative case"
        return Estimate(value, math.nan, math.nan, level, "tango-pairs", n, unit, why)
    turned = _turned_between(positive, first.ranks, second.ranks)
    limits = tango_at(value, turned, found.variance, least=found.fewest, level=level)
    return replace(limits, method="tango-pairs", n=n, unit=unit)


def turned_pairs(positive: Bools, score_a: Floats, score_b: Floats) -> float:
    """Return the share of positive-negative pairs that two scores rank differently.

    A pair tied by one of them counts half. Time ``O(n log² n)``.

    Parameters
    ----------
    positive : numpy.ndarray
        ``(n_cases,)`` bool.
    score_a, score_b : numpy.ndarray
        ``(n_cases,)`` float scores.

    Returns
    -------
    float
        Share in [0, 1].

    Examples
    --------
    >>> turned_pairs(np.array([True, True, False]), np.array([3.0, 1, 2]), np.array([3.0, 2, 2]))
    0.25
    """
    ranks = (np.unique(score, return_inverse=True)[1] for score in (score_a, score_b))
    return _turned_between(positive, *ranks)


def _turned_between(positive: Bools, ranks_a: Ints, ranks_b: Ints) -> float:
    """Return the share of positive-negative pairs that two rankings order differently."""
    turned = _turned(ranks_a, ranks_b)
    for kind in (positive, ~positive):
        turned -= _turned(ranks_a[kind], ranks_b[kind])
    return max(0.0, turned) / (int(positive.sum()) * int((~positive).sum()))


def _turned(a: Ints, b: Ints) -> float:
    """Count pairs of cases in opposite order, and half of those tied by one of the two."""
    scale = int(b.max()) + 1
    both = np.sort(a * scale + b)  # both ranks in one key: sorted without moving two arrays
    runs = np.diff(np.r_[0, np.flatnonzero(both[1:] != both[:-1]) + 1, both.size])
    tied_by_one = _pairs(np.bincount(a)) + _pairs(np.bincount(b)) - 2 * _pairs(runs)
    return _inversions(both % scale) + tied_by_one / 2


def _pairs(sizes: Ints) -> float:
    """Count the pairs within groups of some sizes."""
    return float((sizes * (sizes - 1)).sum()) / 2


def _inversions(ranks: Ints) -> int:
    """Count inversions: directly within short blocks, then by merging these."""
    merged = np.full(_BLOCK << (ranks.size // _BLOCK).bit_length(), 2 * int(ranks.max()) + 2, np.int32)
    merged[: ranks.size] = 2 * ranks  # pad to an even number with values larger than all
    rows, width = merged.reshape(-1, _BLOCK), _BLOCK
    found = sum(int(np.count_nonzero(rows[:, :-apart] > rows[:, apart:])) for apart in range(1, _BLOCK))
    rows.sort(axis=1)
    while width < merged.size:
        rows = merged.reshape(-1, 2 * width)
        rows[:, width:] += 1  # odd: a right value, which follows equal values of the left
        rows.sort(axis=1)
        # A right value's rank in the merged row minus its rank in its half counts the left values up to it.
        odd = merged & 1
        places = np.flatnonzero(odd) % (2 * width)
        found += (2 * width - 1) * places.size - int(places.sum()) - len(rows) * width * (width - 1) // 2
        merged -= odd
        width *= 2
    return found


def _influence(area: Area) -> Floats:
    """Return each case's influence on an area."""
    found = np.empty(area.positive.size)
    found[area.positive] = (area.above - area.value) / area.above.size
    found[~area.positive] = (area.below - area.value) / area.below.size
    return found


def _student(level: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + level / 2))
