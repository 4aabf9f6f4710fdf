"""The paired patient bootstrap: whole patients are drawn, the same draw for every point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitdose.stats.estimate import Estimate, undefined

Counts = NDArray[np.int64]


def patient_draws(
    patients: Sequence[str], labels: Sequence[str], *, draws: int, rng: np.random.Generator
) -> tuple[Counts, Counts]:
    """Draw how often each patient enters each bootstrap sample, stratified by class.

    Parameters
    ----------
    patients, labels : sequence of str
        One entry per case, ``(n_cases,)``. A patient's stratum is the label of its first case.
    draws : int
        Number of bootstrap samples.
    rng : numpy.random.Generator
        Source of randomness; seed it by names.

    Returns
    -------
    weights : numpy.ndarray
        ``(draws, n_patients)`` int: times each patient is drawn; each stratum keeps its size.
    patient_of_case : numpy.ndarray
        ``(n_cases,)`` int: column of ``weights`` that a case belongs to.

    References
    ----------
    Field & Welsh 2007, JRSS B 69:369, doi 10.1111/j.1467-9868.2007.00593.x (cluster bootstrap).
    """
    names, first, patient_of_case = np.unique(
        np.asarray(patients, dtype=str), return_index=True, return_inverse=True
    )
    strata = np.asarray(labels, dtype=str)[first]
    weights = np.zeros((draws, len(names)), np.int64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        chance = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), chance, size=draws)
    return weights, patient_of_case


def percentile_interval(
    value: float,
    samples: NDArray[np.float64],
    *,
    n: int,
    level: float,
    reason: str = "",
    unit: str = "patient",
) -> Estimate:
    """Percentile interval of bootstrap samples around a value; undefined samples are left out.

    Parameters
    ----------
    value : float
        The estimate on the full set; NaN gives a NaN estimate with ``reason``.
    samples : numpy.ndarray
        ``(draws,)`` float; NaN where a draw left the metric undefined. If all are equal the
        limits are NaN with a reason, never an interval of zero width.
    n : int
        Number of resampling units.
    level : float
        Confidence level in (0, 1).
    reason : str
        Why ``value`` is NaN, if it is.
    unit : str
        Name of the resampling unit.
    """
    if np.isnan(value):
        return undefined(reason, level=level, unit=unit)
    defined = samples[~np.isnan(samples)]
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]) if defined.size else (np.nan, np.nan)
    if not defined.size:
        reason = "limits undefined: no bootstrap draw defines the metric"
    elif low == high:  # no spread among the draws says nothing of what another sample would show
        low, high, reason = np.nan, np.nan, "limits undefined: every bootstrap draw gives the same value"
    method = f"{unit}-bootstrap-percentile"
    return Estimate(float(value), float(low), float(high), level, method, n, unit, reason)


def resampled_counts(per_case: Counts, weights: Counts, patient_of_case: Counts) -> Counts:
    """Add counts per case up over each bootstrap sample.

    Parameters
    ----------
    per_case : numpy.ndarray
        ``(n_cases, k)`` int: what each case adds.
    weights, patient_of_case : numpy.ndarray
        As from :func:`patient_draws`.

    Returns
    -------
    numpy.ndarray
        ``(draws, k)`` int.
    """
    per_patient = np.zeros((weights.shape[1], per_case.shape[1]), np.int64)
    np.add.at(per_patient, patient_of_case, per_case)
    # Products of small integers are exact in float64, whose matrix product is far faster.
    product: Counts = np.rint(weights.astype(float) @ per_patient.astype(float)).astype(np.int64)
    return product
