"""How far probabilities can be taken at their word: the Brier score and the calibration error.

Both take true classes and probabilities, one row per case. The rows need not sum to one: a
classifier with one sigmoid per class is scored class by class in the Brier score, and by its
largest output in the calibration error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ECE_BINS = 15


def brier_score(true: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean over the cases of the squared distance from probabilities to truth; 0 is best, 2 worst.

    ``1/n Σ_i Σ_k (p_ik - [y_i = k])²``

    For two classes whose probabilities sum to one this is twice the score of one class alone.

    Parameters
    ----------
    true : array_like
        ``(n_cases,)`` int class indices in ``[0, n_classes)``.
    probabilities : array_like
        ``(n_cases, n_classes)`` float in [0, 1].

    Returns
    -------
    float
        In [0, 2] where rows sum to one, else in [0, n_classes]; NaN without a case, or where a
        probability is NaN.

    References
    ----------
    Brier 1950, Mon Weather Rev 78:1, doi 10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    Examples
    --------
    >>> round(brier_score([0, 1], [[0.8, 0.2], [0.6, 0.4]]), 3)
    0.4
    """
    scores = brier_per_case(true, probabilities)
    return float(scores.mean()) if scores.size else float("nan")


def brier_per_case(true: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Return each case's part of the Brier score, ``(n_cases,)``; their mean is the score."""
    index = np.asarray(true, np.int64)
    distance = np.array(probabilities, float)
    distance[np.arange(index.size), index] -= 1
    return np.asarray((distance**2).sum(-1))


def expected_calibration_error(true: ArrayLike, probabilities: ArrayLike, *, bins: int = ECE_BINS) -> float:
    """Mean gap between confidence and accuracy over bins of equal width; 0 is best, 1 worst.

    ``Σ_b |Σ_{i in b} (c_i - h_i)| / n`` with confidence c, the largest probability, and hit h, 1
    where its class is the true one. Bins are ``(0, 1/bins], …, (1 - 1/bins, 1]``; of equal
    probabilities the first class counts. With few cases per bin it is above zero also for a
    perfectly calibrated classifier.

    Parameters
    ----------
    true : array_like
        ``(n_cases,)`` int class indices in ``[0, n_classes)``.
    probabilities : array_like
        ``(n_cases, n_classes)`` float in [0, 1].
    bins : int
        Number of bins, at least 1.

    Returns
    -------
    float
        In [0, 1]; NaN without a case, or where a probability is NaN.

    References
    ----------
    Guo 2017, arXiv 1706.04599; Naeini 2015, AAAI 29:2901, doi 10.1609/aaai.v29i1.9602.

    Examples
    --------
    >>> round(expected_calibration_error([0, 0], [[0.9, 0.1], [0.3, 0.7]], bins=2), 3)
    0.3
    """
    gaps = calibration_gaps(true, probabilities, bins=bins)
    return float(np.abs(gaps.sum(0)).sum() / len(gaps)) if len(gaps) else float("nan")


def calibration_gaps(true: ArrayLike, probabilities: ArrayLike, *, bins: int = ECE_BINS) -> Floats:
    """Return confidence minus hit of each case in the column of its bin, ``(n_cases, bins)``.

    All other entries are 0. A row with a NaN is NaN throughout.
    """
    table = np.asarray(probabilities, float)
    gaps = np.zeros((len(table), bins))
    if not len(table):
        return gaps
    unknown = np.isnan(table).any(1)
    confidence = np.where(unknown, 0.0, table.max(1))
    hit = table.argmax(1) == np.asarray(true, np.int64)
    upper_edges = np.linspace(0, 1, bins + 1)[1:-1]
    gaps[np.arange(len(table)), np.searchsorted(upper_edges, confidence)] = confidence - hit
    gaps[unknown] = np.nan
    return gaps
