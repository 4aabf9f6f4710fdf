"""Metrics of many weightings of the same cases at once, as a bootstrap needs them.

Weights are ``(draws, n_cases)`` float, at least 0: how often each case counts in each draw.
With integer weights a metric is that of the set in which each case stands so many times; with
weights of one it is the plain metric. Weights whose transpose is contiguous in memory (made
as ``(n_cases, draws)`` and transposed) spare :func:`weighted_auroc` a copy. Where the metric is
of some of the weighted cases only, ``cases`` says which columns of the weights these are.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitdose.metrics.calibration import ECE_BINS, brier_per_case, calibration_gaps

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def weighted_confusion(
    true: ArrayLike, predicted: ArrayLike, weights: Floats, n_classes: int, *, cases: Ints | None = None
) -> Floats:
    """Add the weights up by true and predicted class.

    Parameters
    ----------
    true, predicted : array_like
        ``(n_cases,)`` int class indices in ``[0, n_classes)``.
    weights : numpy.ndarray
        ``(draws, n_cases)`` float, at least 0.
    n_classes : int
        K.
    cases : numpy.ndarray, optional
        ``(n_cases,)`` int: the columns of ``weights`` that the cases are; all in order if not given.

    Returns
    -------
    numpy.ndarray
        ``(draws, K, K)`` float, true classes in rows.

    Examples
    --------
    >>> weighted_confusion([0, 0, 1], [0, 1, 1], np.array([[1.0, 0.0, 2.0]]), 2).tolist()
    [[[1.0, 0.0], [0.0, 2.0]]]
    """
    cell = np.asarray(true, np.int64) * n_classes + np.asarray(predicted, np.int64)
    cells = np.zeros((cell.size, n_classes**2))
    cells[np.arange(cell.size), cell] = 1
    return weighted_sum(cells, weights, cases=cases).reshape(-1, n_classes, n_classes)


def weighted_auroc(
    positive: ArrayLike, score: ArrayLike, weights: Floats | NDArray[np.float32], *, cases: Ints | None = None
) -> Floats:
    """Area under the ROC curve of each weighting, ties half.

    ``Σ_i Σ_j w_i w_j ([s_i > s_j] + [s_i = s_j]/2) / (Σ_i w_i Σ_j w_j)``, i positive, j negative

    The cases are sorted once and traversed from the lowest score up, all draws at each step.

    Parameters
    ----------
    positive : array_like
        ``(n_cases,)`` bool.
    score : array_like
        ``(n_cases,)`` float, higher for positive.
    weights : numpy.ndarray
        ``(draws, n_cases)`` float, at least 0.
    cases : numpy.ndarray, optional
        ``(n_cases,)`` int: the columns of ``weights`` that the cases are; all in order if not given.

    Returns
    -------
    numpy.ndarray
        ``(draws,)`` float in [0, 1]; NaN where a kind has no weight, and all NaN where a case has
        no score.

    Examples
    --------
    >>> weighted_auroc([1, 1, 0, 0], [0.9, 0.4, 0.4, 0.1], np.ones((1, 4))).tolist()
    [0.875]
    """
    is_positive, scores = np.asarray(positive, bool), np.asarray(score, float)
    if np.isnan(scores).any():
        return np.full(len(weights), np.nan)
    per_case = np.ascontiguousarray(weights.T)
    column = np.arange(scores.size) if cases is None else cases
    wins, pairs, losses = _ranked(is_positive, scores, per_case, column)
    every_pair = wins * losses
    return np.asarray(np.divide(pairs, every_pair, out=np.full(pairs.shape, np.nan), where=every_pair > 0))


def _ranked(
    is_positive: NDArray[np.bool_], scores: Floats, per_case: NDArray[Any], column: Ints
) -> tuple[Floats, Floats, Floats]:
    """Return the weight of positives, of pairs whose positive is higher (ties half), and of negatives."""
    order = np.argsort(scores, kind="stable")
    edges = [0, *(np.flatnonzero(np.diff(scores[order])) + 1).tolist(), len(order)]
    rows, kinds = column[order].tolist(), is_positive[order].tolist()
    draws = per_case.shape[1]
    wins, pairs, below, product = np.zeros(draws), np.zeros(draws), np.zeros(draws), np.empty(draws)
    for start, stop in pairwise(edges):
        tied = range(start, stop)
        halves = [rows[i] for i in tied if not kinds[i]] if stop - start > 1 else []
        for row in halves:  # of a tie half the weight is below now, and the other half after it
            below += per_case[row] / 2
        for i in tied:
            if kinds[i]:
                wins += per_case[rows[i]]
                pairs += np.multiply(per_case[rows[i]], below, out=product)
            elif not halves:
                below += per_case[rows[i]]
        for row in halves:
            below += per_case[row] / 2
    return wins, pairs, below


def weighted_brier(
    true: ArrayLike, probabilities: ArrayLike, weights: Floats, *, cases: Ints | None = None
) -> Floats:
    """Brier score of each weighting, ``(draws,)`` float, 0 to 2; see ``calibration.brier_score``.

    Parameters
    ----------
    true : array_like
        ``(n_cases,)`` int class indices.
    probabilities : array_like
        ``(n_cases, n_classes)`` float in [0, 1]. Rows that do not sum to one are scored class by
        class, so that the sum can come to ``n_classes``. A NaN makes every draw NaN.
    weights : numpy.ndarray
        ``(draws, n_cases)`` float, at least 0; a draw without weight is NaN.
    cases : numpy.ndarray, optional
        ``(n_cases,)`` int: the columns of ``weights`` that the cases are; all in order if not given.

    Examples
    --------
    >>> weighted_brier([0, 1], [[0.8, 0.2], [0.6, 0.4]], np.array([[1.0, 3.0]])).round(3).tolist()
    [0.56]
    """
    return weighted_mean(brier_per_case(true, probabilities), weights, cases=cases)


def weighted_ece(
    true: ArrayLike,
    probabilities: ArrayLike,
    weights: Floats,
    bins: int = ECE_BINS,
    *,
    cases: Ints | None = None,
) -> Floats:
    """Calibration error of each weighting, ``(draws,)`` float in [0, 1].

    See ``calibration.expected_calibration_error``, also for what is binned.

    Parameters
    ----------
    true : array_like
        ``(n_cases,)`` int class indices.
    probabilities : array_like
        ``(n_cases, n_classes)`` float in [0, 1]; the largest of a row is its confidence, whatever
        the row sums to. A NaN makes every draw NaN.
    weights : numpy.ndarray
        ``(draws, n_cases)`` float, at least 0; a draw without weight is NaN.
    bins : int
        Number of bins of equal width.
    cases : numpy.ndarray, optional
        ``(n_cases,)`` int: the columns of ``weights`` that the cases are; all in order if not given.

    Examples
    --------
    >>> weighted_ece([0, 0], [[0.9, 0.1], [0.3, 0.7]], np.array([[1.0, 3.0]]), bins=2).round(3).tolist()
    [0.5]
    """
    gaps = weighted_mean(calibration_gaps(true, probabilities, bins=bins), weights, cases=cases)
    return np.asarray(np.abs(gaps).sum(-1))


def weighted_mean(values: ArrayLike, weights: Floats, *, cases: Ints | None = None) -> Floats:
    """Mean of each case's value, or row of values, under each weighting.

    Parameters
    ----------
    values : array_like
        ``(n_cases,)`` or ``(n_cases, k)`` float.
    weights : numpy.ndarray
        ``(draws, n_cases)`` float, at least 0.
    cases : numpy.ndarray, optional
        ``(n_cases,)`` int: the columns of ``weights`` that the cases are; all in order if not given.

    Returns
    -------
    numpy.ndarray
        ``(draws,)`` or ``(draws, k)``; NaN for a draw without weight.

    Examples
    --------
    >>> weighted_mean([0.0, 1.0], np.array([[1.0, 3.0], [0.0, 0.0]])).tolist()
    [0.75, nan]
    """
    table = np.asarray(values, float)
    total = weighted_sum(np.ones(len(table)), weights, cases=cases)
    total = total.reshape(-1, *[1] * (table.ndim - 1))
    sums = weighted_sum(table, weights, cases=cases)
    return np.asarray(np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0))


def weighted_sum(values: Floats, weights: Floats, *, cases: Ints | None = None) -> Floats:
    """Sum of each case's value, or row of values, under each weighting; see :func:`weighted_mean`.

    Examples
    --------
    >>> weighted_sum(np.array([5.0]), np.array([[1.0, 3.0]]), cases=np.array([1])).tolist()
    [15.0]
    """
    if cases is not None:
        # Rows of zeros are cheaper than a copy of the weights.
        padded = np.zeros((weights.shape[1], *values.shape[1:]))
        padded[cases] = values
        values = padded
    return np.asarray(weights @ values)
