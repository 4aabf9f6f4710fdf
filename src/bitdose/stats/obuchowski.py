"""Obuchowski's test: McNemar's test for clustered cases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import UsageError

MIN_CLUSTERS = 50


@dataclass(frozen=True)
class ClusteredTest:
    """Result of a two-sided clustered test: p-value, chi-square on one degree of freedom, clusters.

    ``reason`` says why the p-value is NaN; empty otherwise.
    """

    p_value: float
    chi_square: float
    n_clusters: int
    reason: str = ""


def obuchowski(gained: NDArray[np.bool_], lost: NDArray[np.bool_], patients: NDArray[Any]) -> ClusteredTest:
    """Test whether as many clustered predictions turn right as turn wrong.

    ``X² = (K - 1)/K (Σ_k (b_k - c_k))² / Σ_k (b_k - c_k)²`` over K patients with b_k gained and
    c_k lost predictions, on one degree of freedom. This is the difference of the two proportions over
    its variance between clusters, with the proportions pooled (Yang 2010). Where each patient
    has one case it is (K - 1)/K times McNemar's chi-square.

    Parameters
    ----------
    gained, lost : numpy.ndarray
        ``(n,)`` bool: cases that turned right and cases that turned wrong.
    patients : numpy.ndarray
        ``(n,)`` cluster of each case.

    Returns
    -------
    ClusteredTest
        p is 1 where every patient gained as many as it lost; NaN with a reason below
        ``MIN_CLUSTERS`` patients, where the chi-square approximation is unreliable.

    Raises
    ------
    UsageError
        If the three arrays differ in length.

    References
    ----------
    Obuchowski 1998, Stat Med 17:1495, doi
    10.1002/(SICI)1097-0258(19980715)17:13<1495::AID-SIM863>3.0.CO;2-I; Yang 2010, Biom J 52:638,
    doi 10.1002/bimj.201000035.

    Examples
    --------
    >>> patients = np.arange(60).repeat(2)
    >>> lost = np.arange(120) < 10
    >>> round(obuchowski(np.zeros(120, bool), lost, patients).p_value, 4)
    0.0266
    """
    if not gained.shape == lost.shape == patients.shape:
        raise UsageError(
            f"gained, lost, patients: expected one length, got {gained.size}, {lost.size}, {patients.size}"
        )
    _, cluster = np.unique(patients, return_inverse=True)
    net = np.bincount(cluster, weights=gained.astype(float) - lost)
    count = net.size
    if count < MIN_CLUSTERS:
        why = f"{count} patients are too few for the clustered test, which needs {MIN_CLUSTERS}"
        return ClusteredTest(math.nan, math.nan, count, why if count else "no paired case")
    square = float(net @ net)
    if square == 0:
        return ClusteredTest(1.0, 0.0, count)
    chi_square = (count - 1) / count * float(net.sum()) ** 2 / square
    return ClusteredTest(math.erfc(math.sqrt(chi_square / 2)), chi_square, count)
