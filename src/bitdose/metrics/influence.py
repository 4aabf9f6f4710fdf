"""How much each case moves a metric: its derivative with respect to the weight of the case.

At weights of one. Summed over a patient's cases it is the patient's influence, which the
acceleration of a BCa interval is made of. In first order, a metric without a case is the metric
minus the influence of that case; over all cases the influence sums to zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitdose.metrics.classification import confusion_matrix, f1_score, mid_ranks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Influence = Callable[[Ints, Ints, int], Floats]
Changes = Callable[[Ints, Ints, Ints, int], Floats]
OfConfusion = Callable[[NDArray[Any]], Floats]

_STEP = 1e-5  # of all cases: a cell's weight is moved by so much either way
_NODES, _WEIGHTS = (np.asarray(part) / 2 for part in np.polynomial.legendre.leggauss(8))


def f1_influence(true: ArrayLike, predicted: ArrayLike, n_classes: int) -> Floats:
    """Influence of each case on each class's F1, ``(n_cases, n_classes)``.

    ``([y = ŷ = k] 2 - F1_k ([y = k] + [ŷ = k])) / (cases of k + answers k)``; its mean over the
    classes is the influence on macro F1.

    Parameters
    ----------
    true, predicted : array_like
        ``(n_cases,)`` int class indices in ``[0, n_classes)``.
    n_classes : int
        K.

    Returns
    -------
    numpy.ndarray
        NaN in the column of a class without a case.

    Examples
    --------
    >>> f1_influence([0, 0, 1], [0, 1, 1], 2)[:, 0].round(3).tolist()
    [0.222, -0.222, 0.0]
    """
    y, answer = np.asarray(true, np.int64), np.asarray(predicted, np.int64)
    counts = confusion_matrix(y, answer, n_classes)
    either = counts.sum(0) + counts.sum(1)
    classes = np.arange(n_classes)
    is_class, called = y[:, None] == classes, answer[:, None] == classes
    moved = 2.0 * (is_class & called) - f1_score(counts) * (is_class.astype(float) + called)
    return np.asarray(moved / np.maximum(either, 1))


def f1_changes(true: ArrayLike, before: ArrayLike, after: ArrayLike, n_classes: int) -> Floats:
    """Part of each case in what new answers change of each class's F1, ``(n_cases, n_classes)``.

    ``(2 ΔTP - F̄ ΔA) / (cases of k + Ā)`` with what the case adds to the true positives TP and to
    the answers A of class k; a bar is the mean of before and after. Over all cases it sums to the
    change exactly, and a case whose answer stays has none.

    Parameters
    ----------
    true, before, after : array_like
        ``(n_cases,)`` int class indices in ``[0, n_classes)``.
    n_classes : int
        K.

    Returns
    -------
    numpy.ndarray
        NaN in the column of a class without a case.

    Examples
    --------
    >>> f1_changes([0, 0, 1], [0, 1, 1], [0, 0, 1], 2).sum(0).round(3).tolist()
    [0.333, 0.333]
    """
    classes = np.arange(n_classes)
    y, *answers = (np.asarray(one, np.int64)[:, None] == classes for one in (true, before, after))
    counts = [confusion_matrix(true, one, n_classes) for one in (before, after)]
    either = sum(count.sum(0) + count.sum(1) for count in counts) / 2
    score = (f1_score(counts[0]) + f1_score(counts[1])) / 2
    called = answers[1].astype(float) - answers[0]
    return np.asarray(called * (2.0 * y - score) / np.maximum(either, 1))


def confusion_influence(function: OfConfusion, true: Ints, predicted: Ints, n_classes: int) -> Floats:
    """Influence of each case on any smooth function of the confusion matrix, by central difference.

    Parameters
    ----------
    function : callable
        From confusion matrices ``(..., K, K)`` to values ``(...)``; doubling a matrix changes no value.
    true, predicted : numpy.ndarray
        ``(n_cases,)`` int class indices in ``[0, n_classes)``.
    n_classes : int
        K.

    Returns
    -------
    numpy.ndarray
        ``(n_cases,)`` float; NaN where the function has no value.

    Examples
    --------
    >>> from bitdose.metrics.classification import accuracy
    >>> confusion_influence(accuracy, np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2).round(4).tolist()
    [0.0625, -0.1875, 0.0625, 0.0625]
    """
    slope = _slope(function, confusion_matrix(true, predicted, n_classes).astype(float))
    return np.asarray(slope[true, predicted])


def confusion_changes(function: OfConfusion, true: Ints, before: Ints, after: Ints, n_classes: int) -> Floats:
    """Part of each case in what new predictions change of any smooth function of the confusion matrix.

    ``∫ (f'_{y, after} - f'_{y, before}) dt`` along the straight line from the one matrix to the other, by
    Gauss and Legendre's rule: each case's share after Aumann and Shapley. Over all cases it sums to the
    change, and a case whose prediction stays has none.

    Parameters
    ----------
    function : callable
        As of :func:`confusion_influence`.
    true, before, after : numpy.ndarray
        ``(n_cases,)`` int class indices in ``[0, n_classes)``.
    n_classes : int
        K.

    Returns
    -------
    numpy.ndarray
        ``(n_cases,)`` float; NaN where the function has no value.

    References
    ----------
    Aumann & Shapley 1974, Values of Non-Atomic Games; Sundararajan 2017, arXiv 1703.01365.

    Examples
    --------
    >>> from bitdose.metrics.classification import accuracy
    >>> confusion_changes(accuracy, *(np.array(v) for v in ([0, 1], [1, 1], [0, 1])), 2).round(4).tolist()
    [0.5, 0.0]
    """
    start, end = (confusion_matrix(true, one, n_classes).astype(float) for one in (before, after))
    slope = sum(
        weight * _slope(function, start + (0.5 + node) * (end - start))
        for node, weight in zip(_NODES, _WEIGHTS, strict=True)
    )
    changed = before != after
    parts = np.where(changed, slope[true, after] - slope[true, before], 0.0)
    rest = float(function(end) - function(start)) - parts.sum()
    return np.asarray(parts + changed * (rest / max(int(changed.sum()), 1)))


def _slope(function: OfConfusion, counts: Floats) -> Floats:
    """Return the derivative with respect to the weight of each cell, ``(K, K)``."""
    k, step = len(counts), _STEP * counts.sum()
    moved = step * np.eye(k * k).reshape(k, k, k, k)
    return np.asarray((function(counts + moved) - function(counts - moved)) / (2 * step))


def auroc_influence(positive: ArrayLike, score: ArrayLike) -> Floats:
    """Influence of each case on the area under the ROC curve, ``(n_cases,)``.

    For a positive, the share of negatives it outranks minus the area, over the number of
    positives; for a negative likewise: DeLong's structural components.

    Parameters
    ----------
    positive : array_like
        ``(n_cases,)`` bool.
    score : array_like
        ``(n_cases,)`` float, higher for positive.

    Returns
    -------
    numpy.ndarray
        All NaN where a kind is missing.

    References
    ----------
    DeLong 1988, Biometrics 44:837, doi 10.2307/2531595.

    Examples
    --------
    >>> auroc_influence([1, 1, 0, 0], [3, 1, 2, 0]).tolist()
    [0.125, -0.125, -0.125, 0.125]
    """
    is_positive, scores = np.asarray(positive, bool), np.asarray(score, float)
    found = np.full(scores.size, np.nan)
    m, n = int(is_positive.sum()), int((~is_positive).sum())
    if not m or not n:
        return found
    ranks = mid_ranks(scores)
    outranked = (ranks[is_positive] - mid_ranks(scores[is_positive])) / n
    outranking = 1 - (ranks[~is_positive] - mid_ranks(scores[~is_positive])) / m
    found[is_positive] = (outranked - outranked.mean()) / m
    found[~is_positive] = (outranking - outranking.mean()) / n
    return found
