"""Classification metrics from confusion matrices and probabilities: arrays in, numbers out.

A confusion matrix has true classes in rows and predicted classes in columns. Every
function takes a stack of them ``(..., K, K)`` and works on the last two axes, so that one
call serves one table or two thousand bootstrap samples, weighted ones too. Undefined is NaN: a class without
a case has no sensitivity and no F1; a class never predicted has no precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Confusion = NDArray[np.int64] | Floats


def confusion_matrix(true: ArrayLike, predicted: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """Count cases by true and predicted class.

    Parameters
    ----------
    true, predicted : array_like
        ``(n_cases,)`` int class indices in ``[0, n_classes)``.
    n_classes : int
        K.

    Returns
    -------
    numpy.ndarray
        ``(K, K)`` int, true classes in rows.

    Examples
    --------
    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]
    """
    flat = np.asarray(true, np.int64) * n_classes + np.asarray(predicted, np.int64)
    return np.bincount(flat, minlength=n_classes**2).astype(np.int64).reshape(n_classes, n_classes)


def accuracy(confusion: Confusion) -> Floats:
    """Share of cases on the diagonal, ``(...)`` float in [0, 1]; NaN without cases.

    Examples
    --------
    >>> float(accuracy(np.array([[3, 1], [0, 4]])))
    0.875
    """
    return _ratio(np.asarray(_diagonal(confusion).sum(-1)), np.asarray(confusion.sum((-2, -1))))


def sensitivity(confusion: Confusion) -> Floats:
    """Recall per class, TP / (TP + FN), ``(..., K)`` float; NaN for a class without a case.

    Examples
    --------
    >>> sensitivity(np.array([[3, 1], [0, 4]])).tolist()
    [0.75, 1.0]
    """
    return _ratio(_diagonal(confusion), confusion.sum(-1))


def specificity(confusion: Confusion) -> Floats:
    """TN / (TN + FP) per class, one against the rest; NaN where every case is of the class.

    Examples
    --------
    >>> specificity(np.array([[3, 1], [0, 4]])).tolist()
    [1.0, 0.75]
    """
    negatives = confusion.sum((-2, -1))[..., None] - confusion.sum(-1)
    false_positives = confusion.sum(-2) - _diagonal(confusion)
    return _ratio(negatives - false_positives, negatives)


def precision(confusion: Confusion) -> Floats:
    """TP / (TP + FP) per class, ``(..., K)`` float; NaN for a class never predicted.

    Examples
    --------
    >>> precision(np.array([[3, 1], [0, 4]])).tolist()
    [1.0, 0.8]
    """
    return _ratio(_diagonal(confusion), confusion.sum(-2))


def f1_score(confusion: Confusion) -> Floats:
    """2 TP / (2 TP + FP + FN) per class, ``(..., K)`` float; NaN for a class without a case.

    Examples
    --------
    >>> f1_score(np.array([[3, 1], [0, 4]])).round(4).tolist()
    [0.8571, 0.8889]
    """
    score = _ratio(2 * _diagonal(confusion), confusion.sum(-1) + confusion.sum(-2))
    return np.where(confusion.sum(-1) > 0, score, np.nan)


def macro_f1(confusion: Confusion) -> Floats:
    """Mean of the classes' F1, ``(...)`` float; NaN if a class has no case.

    Examples
    --------
    >>> round(float(macro_f1(np.array([[3, 1], [0, 4]]))), 4)
    0.873
    """
    return np.asarray(f1_score(confusion).mean(-1))


def matthews_correlation(confusion: Confusion) -> Floats:
    """Matthews' correlation coefficient of any number of classes, ``(...)`` float in [-1, 1].

    ``(c n - Σ_k t_k p_k) / sqrt((n² - Σ_k p_k²) (n² - Σ_k t_k²))`` with n cases, c of them right, t_k of
    class k and p_k predicted as k; 1 where all are right, 0 where predictions tell nothing of the classes.
    NaN where all cases are of one class or all predictions are.

    References
    ----------
    Gorodkin 2004, Comput Biol Chem 28:367, doi 10.1016/j.compbiolchem.2004.09.006.

    Examples
    --------
    >>> round(float(matthews_correlation(np.array([[3, 1], [0, 4]]))), 4)
    0.7746
    """
    counts = np.asarray(confusion, float)
    n, right = counts.sum((-2, -1)), _diagonal(counts).sum(-1)
    true, predicted = counts.sum(-1), counts.sum(-2)
    others = 1 - np.eye(counts.shape[-1])  # one class alone makes an exact 0, as a difference may not
    spread = [(side * (side @ others)).sum(-1) for side in (true, predicted)]
    return _ratio(right * n - (true * predicted).sum(-1), np.sqrt(np.maximum(spread[0] * spread[1], 0)))


def auroc(positive: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive outranks a negative, ties half.

    Parameters
    ----------
    positive : array_like
        ``(n_cases,)`` bool.
    score : array_like
        ``(n_cases,)`` float, higher for positive.

    Returns
    -------
    float
        In [0, 1]; NaN where one of the two kinds is missing.

    References
    ----------
    Hanley & McNeil 1982, Radiology 143:29, doi 10.1148/radiology.143.1.7063747.

    Examples
    --------
    >>> auroc([True, True, False, False], [0.9, 0.4, 0.4, 0.1])
    0.875
    """
    is_positive = np.asarray(positive, bool)
    n_positive, n_negative = int(is_positive.sum()), int((~is_positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    rank_sum = float(mid_ranks(np.asarray(score, float))[is_positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def mid_ranks(values: Floats) -> Floats:
    """Rank values from 1, equal ones at the mean of their places.

    Examples
    --------
    >>> mid_ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])


def _diagonal(confusion: Confusion) -> NDArray[Any]:
    return np.asarray(np.diagonal(confusion, axis1=-2, axis2=-1))


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    above, below = np.asarray(above, float), np.asarray(below, float)
    empty = np.full_like(above, np.nan)
    return np.asarray(np.divide(above, below, out=empty, where=below > 0))
