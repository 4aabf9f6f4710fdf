"""Two kernels of ``kernels.py`` by powers of two, in C: in less time, and the same to the last bit.

Where one size is a power of two times the other, all samples of an output *phase* (each second, each fourth
row or column) have the same weights, so that a phase is one filter over the image. Both libraries weigh
8-bit samples in whole numbers, so that the order of a sum, and who computes it, cannot matter.

- OpenCV's Lanczos-4 up: weights of 11 bits each way, one rounding at the end.
- Pillow's bilinear down to a quarter: weights 1, 3, 5 … over a power of two, a rounding after the rows and
  one after the columns. At the borders the kernel is cut, and Pillow's weights of 22 bits are used as they
  are. An image more than twice as high as wide is left to Pillow, which takes its columns first.

Without the compiled library (``bitdose.native``) ``kernels.py`` calls OpenCV and Pillow.

A library that computes otherwise is noticed: drawn images go through both ways once per process and factor,
and unless they agree the library's own function is used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.native import resize

Plane = NDArray[Any]
Sides = tuple[int, int]

_UP_FACTORS = (1, 2, 4, 8, 16)  # of other factors' coordinates OpenCV's floats lose the last bits
_QUARTER = 4

_LANCZOS_BITS = 11
_REACH = 4  # taps of Lanczos-4 on either side
_PILLOW_BITS = 22

_TALLEST = 2
_CHECKED_SIDES = ((16, 40), (48, 24))  # a wide one, and the tallest there is


def lanczos4_up(plane: Plane, width: int, height: int) -> Plane | None:
    """Enlarge as OpenCV's ``INTER_LANCZOS4`` does; None where that is left to OpenCV.

    Parameters
    ----------
    plane : numpy.ndarray
        ``(H, W)`` uint8.
    width, height : int
        Target size in samples.

    Returns
    -------
    numpy.ndarray or None
        ``(height, width)`` uint8 where these are 1, 2, 4, 8 or 16 times H and W and the library is compiled.

    Examples
    --------
    >>> lanczos4_up(np.full((8, 8), 9, np.uint8), 24, 24) is None  # a factor of 3
    True
    """
    if not _is_grey_byte(plane) or height % plane.shape[0] or width % plane.shape[1]:
        return None
    factors = height // plane.shape[0], width // plane.shape[1]
    known = all(factor in _UP_FACTORS for factor in factors)
    return _upsized(plane, factors) if known and _lanczos4_agrees(factors) else None


def bilinear_down(plane: Plane, width: int, height: int) -> Plane | None:
    """Shrink as Pillow's ``BILINEAR`` does; None where that is left to Pillow.

    Parameters
    ----------
    plane : numpy.ndarray
        ``(H, W)`` uint8.
    width, height : int
        Target size in samples.

    Returns
    -------
    numpy.ndarray or None
        ``(height, width)`` uint8 where H and W are both 4 times these and the library is compiled.

    Examples
    --------
    >>> bilinear_down(np.full((64, 64), 9, np.uint8), 32, 32) is None  # to a half
    True
    """
    if not _is_grey_byte(plane) or not 2 <= height <= _TALLEST * width:  # noqa: PLR2004
        return None
    known = plane.shape == (height * _QUARTER, width * _QUARTER) and width > 1
    return _quartered(plane) if known and _bilinear_agrees() else None


def _is_grey_byte(plane: Plane) -> bool:
    return plane.ndim == 2 and plane.dtype == np.uint8  # noqa: PLR2004


@lru_cache(maxsize=256)
def _lanczos4_agrees(factors: Sides) -> bool:
    import cv2

    def opencvs(plane: Plane) -> Plane:
        size = plane.shape[1] * factors[1], plane.shape[0] * factors[0]
        return cv2.resize(plane, size, interpolation=cv2.INTER_LANCZOS4)

    return all(_agree(lambda plane: _upsized(plane, factors), opencvs, sides) for sides in _CHECKED_SIDES)


@cache
def _bilinear_agrees() -> bool:
    from PIL import Image

    def pillows(plane: Plane) -> Plane:
        size = plane.shape[1] // _QUARTER, plane.shape[0] // _QUARTER
        return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))

    larger = [(_QUARTER * height, _QUARTER * width) for height, width in _CHECKED_SIDES]
    return all(_agree(_quartered, pillows, sides) for sides in larger)


def _agree(ours: Callable[[Plane], Plane | None], theirs: Callable[[Plane], Plane], sides: Sides) -> bool:
    """Whether two ways give the same of noise, and of black and white, where kernels overshoot."""
    noise = np.random.default_rng(0).integers(0, 256, sides, np.uint8)
    extremes = np.where(noise < 128, np.uint8(0), np.uint8(255))  # noqa: PLR2004
    pairs = [(ours(plane), theirs(plane)) for plane in (noise, extremes)]
    return all(mine is not None and np.array_equal(mine, other) for mine, other in pairs)


def _upsized(plane: Plane, factors: Sides) -> Plane | None:
    return resize.lanczos4_up(plane, *(_lanczos4_taps(factor) for factor in factors))


@lru_cache(maxsize=16)
def _lanczos4_taps(factor: int) -> NDArray[np.int32]:
    """Return ``(factor, 9)``: by phase, OpenCV's weights of 11 bits of the samples 4 before to 4 behind.

    They are read off an impulse that it enlarges in float32, and rounded as it does for bytes.
    """
    import cv2

    middle = 2 * _REACH
    impulse = np.zeros((1, 2 * middle + 1), np.float32)
    impulse[0, middle] = 1
    response = cv2.resize(impulse, None, fx=factor, fy=1, interpolation=cv2.INTER_LANCZOS4)[0]
    taps = response.reshape(-1, factor)[middle + _REACH : middle - _REACH - 1 : -1].T
    return np.asarray(np.rint(taps * 2.0**_LANCZOS_BITS), np.int32)


def _quartered(plane: Plane) -> Plane | None:
    return resize.bilinear_quarter(plane, _border_taps())


@cache
def _border_taps() -> NDArray[np.int32]:
    """Return Pillow's weights of 22 bits of the first sample, from the border on: a kernel cut."""
    offsets = np.arange(_QUARTER + _QUARTER // 2) + 0.5 - _QUARTER / 2
    weights = 1 - np.abs(offsets) / _QUARTER
    return np.asarray(np.floor(weights * (1 / weights.sum()) * 2**_PILLOW_BITS + 0.5), np.int32)
