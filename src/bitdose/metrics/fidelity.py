"""How far a decoded image is from its original: PSNR and SSIM."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]

_WINDOW = 11
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03
_NOMINAL_SIDE = 256


def psnr_db(original: Plane, decoded: Plane, *, peak: int) -> float:
    """Peak signal-to-noise ratio, ``10 log10(peak² / MSE)``.

    Parameters
    ----------
    original, decoded : numpy.ndarray
        Same shape, ``uint8`` or ``uint16``; a volume's error is pooled over its slices.
    peak : int
        Largest sample the depth can hold, ``2**bits - 1``.

    Returns
    -------
    float
        In dB; infinity for identical arrays.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> a = np.zeros((8, 8), np.uint8)
    >>> round(psnr_db(a, a + 1, peak=255), 2)
    48.13
    """
    import cv2

    if original.shape != decoded.shape:
        raise ValueError(f"shapes differ: {original.shape} and {decoded.shape}")
    flat = (original.reshape(original.shape[0], -1), decoded.reshape(original.shape[0], -1))
    squared_error = cv2.norm(*flat, cv2.NORM_L2SQR)
    if squared_error == 0:
        return math.inf
    return 10 * math.log10(peak**2 * original.size / squared_error)


def ssim(original: Plane, decoded: Plane, *, peak: int) -> float:
    """Mean structural similarity of two images, after Wang's automatic downsampling.

    Both are averaged over blocks of ``f = max(1, round(min(H, W) / 256))`` samples, as the
    authors' reference code does to approximate a usual viewing distance; then a Gaussian
    window of 11 x 11, sigma 1.5, K1 = 0.01, K2 = 0.03. Colour is compared channel by channel.

    Parameters
    ----------
    original, decoded : numpy.ndarray
        ``(H, W)`` or ``(H, W, 3)``, same shape.
    peak : int
        Largest sample the depth can hold.

    Returns
    -------
    float
        In [-1, 1], 1 for identical images; NaN where a side, after averaging, is shorter
        than the window.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    Wang et al. 2004, IEEE TIP 13:600, doi 10.1109/TIP.2003.819861.

    Examples
    --------
    >>> a = np.arange(1024, dtype=np.uint8).reshape(32, 32)
    >>> round(ssim(a, a, peak=255), 6)
    1.0
    """
    return SsimReference.of(original, peak=peak).ssim(decoded)


@dataclass(frozen=True, eq=False)
class SsimReference:
    """An original's part of the structural similarity, computed once for all of its decoded versions.

    Parameters
    ----------
    shape : tuple of int
        Of the original.
    peak : int
        Largest sample the depth can hold.
    values, mean, mean_square : numpy.ndarray
        The original as viewed, and the window's means of it and of its square.
    """

    shape: tuple[int, ...]
    peak: int
    values: NDArray[np.float32]
    mean: NDArray[np.float32]
    mean_square: NDArray[np.float32]

    @classmethod
    def of(cls, original: Plane, *, peak: int) -> SsimReference:
        """Prepare an original; parameters as of :func:`ssim`."""
        x = _viewed(original)
        return cls(original.shape, peak, x, _blur(x), _blur(x * x))

    def ssim(self, decoded: Plane) -> float:
        """Return what :func:`ssim` gives for the original and this image; raises as it does."""
        if self.shape != decoded.shape:
            raise ValueError(f"shapes differ: {self.shape} and {decoded.shape}")
        x, y = self.values, _viewed(decoded)
        margin = _WINDOW // 2
        if min(x.shape[:2]) < _WINDOW:
            return math.nan
        c1, c2 = (_K1 * self.peak) ** 2, (_K2 * self.peak) ** 2
        mean_x, mean_y = self.mean, _blur(y)
        mean_xy, square_x, square_y = mean_x * mean_y, mean_x * mean_x, mean_y * mean_y
        covariance = _blur(x * y) - mean_xy
        spread = self.mean_square + _blur(y * y) - square_x - square_y
        index = (2 * mean_xy + c1) * (2 * covariance + c2)
        index /= (square_x + square_y + c1) * (spread + c2)
        return float(index[margin:-margin, margin:-margin].mean(dtype=np.float64))


def _viewed(plane: Plane) -> NDArray[np.float32]:
    """Average over blocks so that the shorter side comes near 256 samples."""
    import cv2

    factor = max(1, round(min(plane.shape[:2]) / _NOMINAL_SIDE))
    values = plane.astype(np.float32)
    if factor == 1:
        return values
    height, width = (side // factor * factor for side in plane.shape[:2])
    size = (width // factor, height // factor)
    return np.asarray(cv2.resize(values[:height, :width], size, interpolation=cv2.INTER_AREA))


def _blur(values: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.GaussianBlur(values, (_WINDOW, _WINDOW), _SIGMA))
