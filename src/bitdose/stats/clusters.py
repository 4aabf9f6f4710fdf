"""Proportions where a patient has several cases: an effective sample size in the usual formulas.

Cases of one patient go right or wrong together, so n cases carry less than n cases' worth.
The design effect is the variance between patients over the variance that independent cases
would have; n over the design effect takes the place of n (Rao & Scott 1992). Unlike a
bootstrap it never gives an interval of zero width: where no case differs from the others, each
patient counts once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitdose.stats.estimate import Estimate, undefined
from bitdose.stats.proportions import tango, wilson


def effective_size(values: ArrayLike, patients: ArrayLike) -> float:
    """Return how many independent cases are worth as much as these.

    ``n / max(1, deff)``, ``deff = [P/(P-1) Σ_j (Σ_{i in j} (x_i - x̄))² / n²] / [s² / n]``

    Parameters
    ----------
    values : array_like
        ``(n,)`` float, one per case.
    patients : array_like
        ``(n,)`` names or numbers; the cluster of each case.

    Returns
    -------
    float
        In (0, n]; the number of patients where all values are equal; 0 for no case.

    References
    ----------
    Rao & Scott 1992, Biometrics 48:577, doi 10.2307/2532311.

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
    independent = float(x.var()) / n
    if count == 1 or independent == 0:
        return float(count)
    residuals = np.bincount(cluster, weights=x - x.mean())
    between = count / (count - 1) * float(residuals @ residuals) / n**2
    return n / max(1.0, between / independent)


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
