"""Proportions of clustered cases: an effective sample size in the usual formulas.

Outcomes of one patient's cases are correlated, so n cases carry the information of fewer
independent ones: n divided by the design effect replaces n (Rao & Scott 1992). The design effect
follows from the intraclass correlation and the spread of the cluster sizes (Kish 1965), which
accounts for a patient with very many images. If few patients differ from the rest the
correlation is poorly estimated, and each patient counts once; so the interval never has zero
width, and a further lost case does not make it overly optimistic.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitdose.stats.estimate import Estimate, undefined
from bitdose.stats.proportions import tango, wilson

_PRIOR_PATIENTS = 3
_CAP_PATIENTS = 10
_ROUNDING = 1e-24
_ON_ONE_CORE = 10_000


def effective_size(values: ArrayLike, patients: ArrayLike) -> float:
    """Return the effective number of independent cases.

    ``n_icc = n / (1 + ρ (Σ m_j² / n - 1))`` with cluster sizes ``m_j`` and ρ the one-way ANOVA
    estimate of the intraclass correlation, within [0, 1]. With D patients that have a value other
    than the most frequent one and P patients in total, the result is
    ``min((3 P + D n_icc) / (3 + D), P + (n - P) D / (D + 10))``: it starts at P and approaches
    n_icc as D grows. The weights 3 and 10 were chosen by simulation of coverage
    (``tests/stats/test_clusters.py``).

    Parameters
    ----------
    values : array_like
        ``(n,)`` float, one per case.
    patients : array_like
        ``(n,)`` names or numbers: cluster of each case.

    Returns
    -------
    float
        In [0, n]; n with one case per patient, the number of patients where all values are
        equal, 0 without cases.

    References
    ----------
    Rao & Scott 1992, Biometrics 48:577, doi 10.2307/2532311. Kish 1965, Survey Sampling,
    section 8.2. Donner 1986, Int Stat Rev 54:67, doi 10.2307/1403259 (ANOVA estimate).

    Examples
    --------
    >>> effective_size([1, 1, 0, 0, 1, 1, 0, 0], [1, 1, 2, 2, 3, 3, 4, 4]) < 8
    True
    >>> effective_size([1, 1, 1, 1], [1, 1, 2, 2])
    2.0
    """
    x = np.asarray(values, float)
    if x.size == 0:
        return 0.0
    _, cluster = np.unique(np.asarray(patients), return_inverse=True)
    n, count = x.size, int(cluster.max()) + 1
    if count == n:
        return float(n)
    levels, frequency = np.unique(x, return_counts=True)
    differing = np.unique(cluster[x != levels[frequency.argmax()]]).size
    sizes = np.bincount(cluster)
    spread = float(sizes @ sizes) / n
    by_correlation = n / (1 + _intraclass_correlation(x, cluster, sizes, spread) * (spread - 1))
    believed = (_PRIOR_PATIENTS * count + differing * by_correlation) / (_PRIOR_PATIENTS + differing)
    return float(min(believed, count + (n - count) * differing / (differing + _CAP_PATIENTS)))


def _intraclass_correlation(
    x: NDArray[np.float64], cluster: NDArray[np.int64], sizes: NDArray[np.int64], spread: float
) -> float:
    """One-way ANOVA estimate of the intraclass correlation, within [0, 1]; 1 where undefined."""
    n, count = x.size, sizes.size
    if count == 1 or x.var() == 0:
        return 1.0
    means = np.bincount(cluster, weights=x) / sizes
    between = float(sizes @ (means - x.mean()) ** 2) / (count - 1)
    within = float(((x - means[cluster]) ** 2).sum()) / (n - count)
    usual_size = (n - spread) / (count - 1)
    rho = (between - within) / (between + (usual_size - 1) * within)
    return min(1.0, max(0.0, rho))


def clustered_wilson(
    hits: NDArray[np.bool_], patients: NDArray[Any], *, level: float = 0.95, what: str = "case"
) -> Estimate:
    """Wilson's interval for the share of hits, at the effective sample size.

    Parameters
    ----------
    hits : numpy.ndarray
        ``(n,)`` bool, one per case; empty gives NaN with a reason.
    patients : numpy.ndarray
        ``(n,)`` cluster of each case.
    level : float
        Confidence level in (0, 1).
    what : str
        What is counted, for the reason where there is none.

    Examples
    --------
    >>> clustered_wilson(np.ones(4, bool), np.array([1, 1, 2, 2])).low < 0.4
    True
    """
    if hits.size == 0:
        return undefined(f"no {what}", level=level, unit="patient")
    size = effective_size(hits, patients)
    found = wilson(float(hits.mean()) * size, size, level=level)
    return replace(found, method="wilson-rao-scott", n=np.unique(patients).size, unit="patient")


def clustered_tango(
    gained: NDArray[np.bool_], lost: NDArray[np.bool_], patients: NDArray[Any], *, level: float = 0.95
) -> Estimate:
    """Tango's interval for the paired difference, at the effective sample size.

    Parameters
    ----------
    gained, lost : numpy.ndarray
        ``(n,)`` bool: cases that turned right and cases that turned wrong.
    patients : numpy.ndarray
        ``(n,)`` cluster of each case.
    level : float
        Confidence level in (0, 1).

    Examples
    --------
    >>> none = np.zeros(4, bool)
    >>> clustered_tango(none, none, np.array([1, 1, 2, 2])).low < -0.5
    True
    """
    if gained.size == 0:
        return undefined("no paired case", level=level, unit="patient")
    size = effective_size(gained.astype(float) - lost, patients)
    found = tango(float(gained.mean()) * size, float(lost.mean()) * size, size, level=level)
    return replace(found, method="tango-rao-scott", n=np.unique(patients).size, unit="patient")


def paired_difference(
    changes: NDArray[np.float64],
    influence: NDArray[np.float64],
    patients: NDArray[Any],
    *,
    least: float,
    level: float = 0.95,
    unit: str = "patient",
) -> Estimate:
    """Interval of a difference that is a sum over cases with changed predictions, such as one of F1.

    Parameters
    ----------
    changes : numpy.ndarray
        ``(n,)`` float: each case's contribution, negative where it lost, 0 where unchanged.
    influence : numpy.ndarray
        ``(n,)`` float: derivative of the difference with respect to the weight of each case.
    patients : numpy.ndarray
        ``(n,)`` cluster of each case.
    least : float
        As in :func:`tango_at`.
    level : float
        Confidence level in (0, 1).
    unit : str
        Name of the resampling unit: ``patient`` or ``case``.

    Returns
    -------
    Estimate
        By :func:`tango_at`; NaN limits with a reason where there is one patient only.

    Examples
    --------
    >>> lost = np.repeat([-0.01, 0.0], [5, 95])
    >>> f"{paired_difference(lost, lost - lost.mean(), np.arange(100), least=100):.3f}"
    '-0.050 (-0.112 to -0.011)'
    """
    _, cluster = np.unique(patients, return_inverse=True)
    cases, value = np.bincount(cluster), float(changes.sum())
    if cases.size == 1:
        why = f"limits undefined: one {unit} only"
        return Estimate(value, math.nan, math.nan, level, "tango-effective", 1, unit, why)
    pull = np.bincount(cluster, weights=influence) / np.sqrt(1 - cases / cases.sum())
    changed = float(np.abs(changes).sum())
    found = tango_at(value, changed, sum_of_squares(pull), least=least, level=level)
    return replace(found, method="tango-effective", n=cases.size, unit=unit)


def tango_at(value: float, changed: float, variance: float, *, least: float, level: float = 0.95) -> Estimate:
    """Tango's interval of a difference of known variance, at its effective number of cases.

    The gained and lost shares are ``g = (changed + value) / 2`` and ``l = (changed - value) / 2``.
    They correspond to ``N = (changed - value²) / variance`` independent pairs, so that the interval is
    Tango's for N of which ``g N`` are gained and ``l N`` lost (Rao & Scott 1992).

    Parameters
    ----------
    value, changed : float
        Gains minus losses, and gains plus losses.
    variance : float
        Variance of the difference.
    least : float
        N for the case of no change, which has zero variance.
    level : float
        Confidence level in (0, 1).

    Examples
    --------
    >>> f"{tango_at(0.2, 14 / 50, (14 / 50 - 0.2**2) / 50, least=1):.5f}"
    '0.20000 (0.06111 to 0.34471)'
    """
    room = max(changed - value**2, 0.0)
    worth = room / variance if variance > _ROUNDING and room > 0 else least
    limits = tango((changed + value) / 2 * worth, (changed - value) / 2 * worth, worth, level=level)
    return replace(limits, value=value)


def sum_of_squares(values: NDArray[np.float64]) -> float:
    """Sum squares in pieces too short for multithreaded BLAS.

    Multithreading is slower here, and would make the last digit depend on the number of cores.

    Examples
    --------
    >>> sum_of_squares(np.array([3.0, 4.0]))
    25.0
    """
    pieces = (values[start : start + _ON_ONE_CORE] for start in range(0, values.size, _ON_ONE_CORE))
    return sum((float(piece @ piece) for piece in pieces), 0.0)
