"""How much each case moves a metric: its derivative with respect to the weight of the case.

At weights of one. Summed over a patient's cases it is the patient's influence, which the
acceleration of a BCa interval is made of. In first order, a metric without a case is the metric
minus the influence of that case; over all cases the influence sums to zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitdose.metrics.classification import confusion_matrix, f1_score, mid_ranks

Floats = NDArray[np.float64]


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
