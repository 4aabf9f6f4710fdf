"""Two kernels of ``resample.py`` by powers of two: in less time, and the same to the last bit.

Where one size is a power of two times the other, all samples of an output *phase* (each second, each fourth
row or column) have the same weights, so that a phase is one filter over the image. Both libraries weigh
8-bit samples in whole numbers, which floats of 53 bits, or words of 16, hold exactly: the order of a sum,
and who computes it, cannot matter.

- OpenCV's Lanczos-4 up: weights of 11 bits each way, one rounding at the end.
- Pillow's bilinear down by 2, 4 or 8: weights 1, 3, 5 … over a power of two, a rounding after the rows and
  one after the columns. At the borders the kernel is cut, and Pillow's weights of 22 bits are used as they
  are. An image more than twice as high as wide is left to Pillow, which takes its columns first.

Where the loops in C were compiled (``bitdose.native``) they enlarge, and shrink to a quarter; OpenCV's
filters and NumPy do elsewhere.

A library that computed otherwise is noticed: drawn images go through both ways once per process and factor,
and unless they agree the library's own function is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.native import resize

Plane = NDArray[Any]
Sides = tuple[int, int]

_UP_FACTORS = (1, 2, 4, 8, 16)  # of other factors' coordinates OpenCV's floats lose the last bits
_DOWN_FACTORS = (2, 4, 8)  # sums of 16 bits hold no more

_LANCZOS_BITS = 11
_REACH = 4  # taps of Lanczos-4 on either side
_BAND_SAMPLES = 2**18  # floats of a band: 2 MB
_TIE_UP = 2.0**-23  # half of the last bit of a product of two weights: ties go up, nothing else moves

_PILLOW_BITS = 22
_QUARTER = 4
_BAND_BYTES = 2**19

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
        ``(height, width)`` uint8 where these are 1, 2, 4, 8 or 16 times H and W.

    Examples
    --------
    >>> lanczos4_up(np.full((8, 8), 9, np.uint8), 32, 16).shape
    (16, 32)
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
        ``(height, width)`` uint8 where H and W are both 2, 4 or 8 times these.

    Examples
    --------
    >>> bilinear_down(np.full((64, 32), 9, np.uint8), 16, 32).shape
    (32, 16)
    """
    if not _is_grey_byte(plane) or not 2 <= height <= _TALLEST * width:  # noqa: PLR2004
        return None
    factor = plane.shape[0] // height
    known = factor in _DOWN_FACTORS and plane.shape == (height * factor, width * factor) and width > 1
    return _downsized(plane, factor) if known and _bilinear_agrees(factor) else None


def _is_grey_byte(plane: Plane) -> bool:
    return plane.ndim == 2 and plane.dtype == np.uint8  # noqa: PLR2004


@lru_cache(maxsize=256)
def _lanczos4_agrees(factors: Sides) -> bool:
    import cv2

    def opencvs(plane: Plane) -> Plane:
        size = plane.shape[1] * factors[1], plane.shape[0] * factors[0]
        return cv2.resize(plane, size, interpolation=cv2.INTER_LANCZOS4)

    return all(_agree(lambda plane: _upsized(plane, factors), opencvs, sides) for sides in _CHECKED_SIDES)


@lru_cache(maxsize=8)
def _bilinear_agrees(factor: int) -> bool:
    from PIL import Image

    def pillows(plane: Plane) -> Plane:
        size = plane.shape[1] // factor, plane.shape[0] // factor
        return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))

    larger = [(factor * height, factor * width) for height, width in _CHECKED_SIDES]
    return all(_agree(lambda plane: _downsized(plane, factor), pillows, sides) for sides in larger)


def _agree(ours: Callable[[Plane], Plane], theirs: Callable[[Plane], Plane], sides: Sides) -> bool:
    """Whether two ways give the same of noise, and of black and white, where kernels overshoot."""
    noise = np.random.default_rng(0).integers(0, 256, sides, np.uint8)
    extremes = np.where(noise < 128, np.uint8(0), np.uint8(255))  # noqa: PLR2004
    return all(np.array_equal(ours(plane), theirs(plane)) for plane in (noise, extremes))


def _upsized(plane: Plane, factors: Sides) -> Plane:
    down, across = (np.rint(_lanczos4_taps(n) * 2.0**_LANCZOS_BITS).astype(np.int32) for n in factors)
    quick = resize.lanczos4_up(plane, down, across)
    return _filtered(plane, factors) if quick is None else quick


def _filtered(plane: Plane, factors: Sides) -> Plane:
    """Filter the columns of a band for each phase, then its rows; float64 holds every sum exactly."""
    import cv2

    (height, width), (down, across) = plane.shape, factors
    out = np.empty((height, down, width * across), np.uint8)
    padded = cv2.copyMakeBorder(plane, _REACH, _REACH, 0, 0, cv2.BORDER_REPLICATE)
    band = max(2 * _REACH, _BAND_SAMPLES // (width * across))
    for start in range(0, height, band):
        rows = padded[start : start + band + 2 * _REACH]
        wide = _widened(rows, across)
        filtered = np.empty_like(wide)
        for phase, taps in enumerate(_lanczos4_taps(down)):
            cv2.filter2D(
                wide, cv2.CV_64F, taps[:, None], dst=filtered, delta=_TIE_UP, borderType=cv2.BORDER_REPLICATE
            )
            # To bytes saturated and rounded to the nearest; no sum is a tie any more.
            inner, into = filtered[_REACH:-_REACH], out[start : start + band, phase]
            cv2.addWeighted(inner, 1.0, inner, 0.0, 0.0, dst=into, dtype=cv2.CV_8U)
    return out.reshape(height * down, width * across)


def _widened(rows: Plane, factor: int) -> NDArray[np.float64]:
    """Enlarge ``(n, W)`` uint8 to ``(n, W * factor)``, unrounded; sums of 20 bits are exact in float32."""
    import cv2

    taps = _lanczos4_taps(factor).astype(np.float32)
    phases = [cv2.filter2D(rows, cv2.CV_32F, k[None], borderType=cv2.BORDER_REPLICATE) for k in taps]
    return cv2.merge(phases).reshape(len(rows), -1).astype(np.float64)


@lru_cache(maxsize=16)
def _lanczos4_taps(factor: int) -> NDArray[np.float64]:
    """Return ``(factor, 9)``: by phase, OpenCV's weights of the samples 4 before to 4 behind.

    They are read off an impulse that it enlarges in float32, and rounded as it does for bytes.
    """
    import cv2

    middle = 2 * _REACH
    impulse = np.zeros((1, 2 * middle + 1), np.float32)
    impulse[0, middle] = 1
    answer = cv2.resize(impulse, None, fx=factor, fy=1, interpolation=cv2.INTER_LANCZOS4)[0]
    taps = answer.reshape(-1, factor)[middle + _REACH : middle - _REACH - 1 : -1].T
    return np.asarray(np.rint(taps * 2.0**_LANCZOS_BITS) / 2.0**_LANCZOS_BITS, np.float64)


def _downsized(plane: Plane, factor: int) -> Plane:
    border = np.rint(_border_taps(factor) * 2.0**_PILLOW_BITS).astype(np.int32)
    quick = resize.bilinear_quarter(plane, border) if factor == _QUARTER else None
    return _by_words(plane, factor) if quick is None else quick


def _by_words(plane: Plane, factor: int) -> Plane:
    """Shrink the rows of a band, then all columns: Pillow's order, with its rounding between them."""
    import cv2

    height, width = plane.shape[0], plane.shape[1] // factor
    narrow, band = np.empty((height, width), np.uint8), max(1, _BAND_BYTES // plane.shape[1])
    for start in range(0, height, band):
        rows = plane[start : start + band]
        phases = cv2.split(rows.reshape(len(rows), width, factor))
        narrow[start : start + band] = _inside(phases, 1)
    _mend_borders(narrow.T, plane.T, factor)
    small = _inside(list(narrow.reshape(-1, factor, width).swapaxes(0, 1)), width)
    _mend_borders(small, narrow, factor)
    return small


def _inside(phases: Sequence[Plane], step: int) -> Plane:
    """Shrink an image of which each phase is given; what lies at a border is not right yet.

    Parameters
    ----------
    phases : sequence of numpy.ndarray
        ``factor`` arrays ``(n, m)`` uint8.
    step : int
        How far apart neighbours along the way that shrinks lie: 1, or m.

    Returns
    -------
    numpy.ndarray
        ``(n, m)`` uint8.
    """
    factor, half = len(phases), len(phases) // 2
    words = [phase.astype(np.uint16).ravel() for phase in phases]
    odd = [np.uint16(2 * k + 1) for k in range(factor)]
    # From half a block before to half a block behind; weights rise to the middle, and fall again.
    pairs = [words[half - 1 - k] + words[half + k] for k in range(half)]
    total = _weighed(pairs, odd[: half - 1 : -1])
    total[step:] += _weighed(words[half:], odd[:half])[:-step]
    total[:-step] += _weighed(words[half - 1 :: -1], odd[:half])[step:]
    total += np.uint16(factor * factor)
    total >>= np.uint16((2 * factor * factor).bit_length() - 1)
    return total.astype(np.uint8).reshape(phases[0].shape)


def _weighed(planes: Sequence[Plane], weights: Sequence[np.uint16]) -> Plane:
    total = planes[0] * weights[0]
    for plane, weight in zip(planes[1:], weights[1:], strict=True):
        total += plane * weight
    return total


def _mend_borders(shrunk: Plane, lines: Plane, factor: int) -> None:
    """Weigh the first and the last sample of ``(n, m)`` anew, from ``(n * factor, m)``."""
    taps = _border_taps(factor)
    for end, nearest in ((0, lines[: len(taps)]), (-1, lines[: -len(taps) - 1 : -1])):
        shrunk[end] = np.floor(taps @ nearest.astype(np.float64) + 0.5)


@lru_cache(maxsize=8)
def _border_taps(factor: int) -> NDArray[np.float64]:
    """Return Pillow's weights of the first sample, from the border on: a kernel cut and normalised."""
    offsets = np.arange(factor + factor // 2) + 0.5 - factor / 2
    weights = 1 - np.abs(offsets) / factor
    return np.asarray(np.floor(weights * (1 / weights.sum()) * 2**_PILLOW_BITS + 0.5) / 2**_PILLOW_BITS)
