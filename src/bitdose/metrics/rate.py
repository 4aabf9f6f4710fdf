"""How many bits an image took: ratios and bits per pixel, each saying of what."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def total_ratio(basis_bytes: ArrayLike, coded_bytes: ArrayLike) -> float:
    """Ratio of a set: total bytes of the basis over total coded bytes.

    On sets of one size it is the reciprocal of the mean fraction, which is how the paper
    averages. NaN for an empty set or no coded byte.

    Parameters
    ----------
    basis_bytes, coded_bytes : array_like
        ``(n_cases,)`` int bytes. The basis is the raw pixels (DICOM's meaning of ratio,
        PS3.3 C.7.6.1.1.5.2) or the source file (the paper's practice).

    Examples
    --------
    >>> total_ratio([100, 300], [10, 10])
    20.0
    """
    coded = float(np.sum(np.asarray(coded_bytes, float)))
    return float(np.sum(np.asarray(basis_bytes, float))) / coded if coded > 0 else float("nan")


def mean_ratio(basis_bytes: ArrayLike, coded_bytes: ArrayLike) -> float:
    """Mean of the per-case ratios; NaN for an empty set.

    Examples
    --------
    >>> mean_ratio([100, 300], [10, 10])
    20.0
    """
    coded = np.asarray(coded_bytes, float)
    if coded.size == 0 or not coded.all():
        return float("nan")
    return float(np.mean(np.asarray(basis_bytes, float) / coded))


def rate_bpp(coded_bytes: ArrayLike, pixels: ArrayLike) -> float:
    """Bits per pixel of the original: total coded bits over total pixels (not samples).

    Examples
    --------
    >>> rate_bpp([1024], [64 * 64])
    2.0
    """
    total = float(np.sum(np.asarray(pixels, float)))
    return 8 * float(np.sum(np.asarray(coded_bytes, float))) / total if total > 0 else float("nan")
