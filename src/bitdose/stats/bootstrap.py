"""Paired patient bootstrap: whole patients are resampled, with the same sample for every point."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitdose.stats.estimate import Estimate, undefined

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

_NO_SPREAD = "limits undefined: all bootstrap samples have the same value"


def patient_draws(
    patients: Sequence[str], labels: Sequence[str], *, draws: int, rng: np.random.Generator
) -> tuple[Floats, Counts]:
    """Draw each patient's weight in each bootstrap sample, stratified by class.

    Within a class of n patients, n are drawn with replacement. The total weight of the class is then
    drawn as well, since another sample of patients would have another mix of classes: from a gamma
    distribution with the number of its patients as mean and variance, so that the shares of the
    classes follow a Dirichlet distribution. Unlike a count, it is never zero: no sample loses a class.

    Parameters
    ----------
    patients, labels : sequence of str
        One entry per case, ``(n_cases,)``. A patient's stratum is the label of its first case.
    draws : int
        Number of bootstrap samples.
    rng : numpy.random.Generator
        Source of randomness, seeded by names.

    Returns
    -------
    weights : numpy.ndarray
        ``(draws, n_patients)`` float, at least 0, mean 1: times each patient is drawn, times
        the weight of its class over the number of its patients. The samples of a patient are
        contiguous in memory.
    patient_of_case : numpy.ndarray
        ``(n_cases,)`` int: column of ``weights`` that a case belongs to.

    References
    ----------
    Field & Welsh 2007, JRSS B 69:369, doi 10.1111/j.1467-9868.2007.00593.x (cluster bootstrap);
    Rubin 1981, Ann Stat 9:130, doi 10.1214/aos/1176345338 (Dirichlet shares).
    """
    names, first, patient_of_case = np.unique(
        np.asarray(patients, dtype=str), return_index=True, return_inverse=True
    )
    strata = np.asarray(labels, dtype=str)[first]
    weights = np.zeros((len(names), draws))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        size = len(members)
        counts = rng.multinomial(size, np.full(size, 1 / size), size=draws)
        weights[members] = (counts * (rng.standard_gamma(size, (draws, 1)) / size)).T
    return weights.T, patient_of_case


def bca_interval(
    value: float,
    samples: Floats,
    influence: Floats,
    *,
    n: int,
    level: float,
    reason: str = "",
    unit: str = "patient",
) -> Estimate:
    """Bias-corrected and accelerated interval of bootstrap samples around a value.

    The limits are quantiles of the samples at ``Φ(z0 + (z0 ± z) / (1 - a (z0 ± z)))``. The bias
    correction z0 is the normal quantile of the share of samples below the value, those equal to
    it counted half. The acceleration is computed from the units' centred influence:
    ``a = Σ l³ / (6 (Σ l²)^{3/2})``.

    Parameters
    ----------
    value : float
        The estimate on the full set; NaN gives a NaN estimate with ``reason``.
    samples : numpy.ndarray
        ``(draws,)`` float; samples with an undefined metric are NaN and ignored.
    influence : numpy.ndarray
        ``(n_units,)`` float: derivative of the metric with respect to the weight of each
        resampling unit, at weights of one. A constant may be added, and the scale is free.
    n : int
        Number of resampling units.
    level : float
        Confidence level in (0, 1).
    reason : str
        Why ``value`` is NaN, if it is.
    unit : str
        Name of the resampling unit.

    Returns
    -------
    Estimate
        Its limits are NaN with a reason where the samples or the influence show no spread, or
        where all samples lie on one side of the value, so that the bias cannot be corrected.

    References
    ----------
    Efron 1987, JASA 82:171, doi 10.1080/01621459.1987.10478410.

    Examples
    --------
    >>> data = np.array([1.0, 2.0, 2.0, 3.0, 7.0])
    >>> picks = np.random.default_rng(0).integers(0, 5, (2000, 5))
    >>> f"{bca_interval(3, data[picks].mean(1), data, n=5, level=0.9):.1f}"
    '3.0 (1.8 to 5.2)'
    """
    if np.isnan(value):
        return undefined(reason, level=level, unit=unit)
    defined, why = _defined(samples)
    low, high = math.nan, math.nan
    if not why:
        bias = _bias(value, defined)
        acceleration = _acceleration(influence)
        if math.isinf(bias):
            why = "limits undefined: all bootstrap samples lie on one side of the value"
        elif math.isnan(acceleration):
            why = f"limits undefined: no {unit} moves the metric"
        else:
            low, high = np.quantile(defined, _shares(bias, acceleration, level))
    if high - low <= _tolerance(value):
        low, high, why = math.nan, math.nan, _NO_SPREAD
    return Estimate(float(value), float(low), float(high), level, f"{unit}-bootstrap-bca", n, unit, why)


def _defined(samples: Floats) -> tuple[Floats, str]:
    """Return the defined samples, and why they yield no interval (empty if they do)."""
    defined = samples[~np.isnan(samples)]
    if not defined.size:
        return defined, "limits undefined: the metric is undefined in every bootstrap sample"
    # Zero spread among the samples carries no information about another data set.
    spread = float(defined.max() - defined.min())
    return defined, _NO_SPREAD if spread <= _tolerance(float(defined[0])) else ""


def _tolerance(value: float) -> float:
    """Return the rounding error of sums of the same terms in another order."""
    return 1e-12 * max(1.0, abs(value))


def _bias(value: float, defined: Floats) -> float:
    from scipy.special import ndtri

    slack = _tolerance(value)
    below, above = (defined < value - slack).mean(), (defined > value + slack).mean()
    return float(ndtri((below + 1 - above) / 2))


def _acceleration(influence: Floats) -> float:
    centred = influence - influence.mean()
    square = float((centred**2).sum())
    return float((centred**3).sum()) / (6 * square**1.5) if square > 0 else math.nan


def _shares(bias: float, acceleration: float, level: float) -> Floats:
    """Return the two quantile levels of the limits."""
    from scipy.special import ndtr, ndtri

    shifted = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    room = 1 - acceleration * shifted
    # A non-positive denominator means an unbounded quantile: the limit is the outermost sample.
    outermost = np.where(shifted > 0, 1.0, 0.0)
    return np.where(room > 0, ndtr(bias + shifted / np.where(room > 0, room, 1.0)), outermost)
