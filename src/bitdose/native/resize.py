"""Resize by powers of two in whole numbers (``resample.c``); ``resample/polyphase.py`` knows the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.native.library import load


def lanczos4_up(
    plane: NDArray[Any], down_taps: NDArray[Any], across_taps: NDArray[Any]
) -> NDArray[Any] | None:
    """Enlarge by whole factors; None where there is no library.

    Parameters
    ----------
    plane : numpy.ndarray
        ``(H, W)`` uint8.
    down_taps, across_taps : numpy.ndarray
        ``(factor, 9)`` int32: by phase, OpenCV's weights of 11 bits of the samples 4 before to 4 behind.

    Returns
    -------
    numpy.ndarray or None
        ``(H * factor, W * factor)`` uint8.
    """
    library = load()
    if library is None:
        return None
    (height, width), down, across = plane.shape, len(down_taps), len(across_taps)
    plane = np.ascontiguousarray(plane)
    down_taps, across_taps = (np.ascontiguousarray(taps, np.int32) for taps in (down_taps, across_taps))
    out = np.empty((height * down, width * across), np.uint8)
    done = library.bitdose_lanczos4_up(
        plane.ctypes.data,
        height,
        width,
        down,
        across,
        down_taps.ctypes.data,
        across_taps.ctypes.data,
        out.ctypes.data,
    )
    return out if done else None


def bilinear_quarter(plane: NDArray[Any], border: NDArray[Any]) -> NDArray[Any] | None:
    """Shrink to a quarter; None where there is no library.

    Parameters
    ----------
    plane : numpy.ndarray
        ``(H, W)`` uint8, both multiples of 4 and at least 8.
    border : numpy.ndarray
        ``(6,)`` int32: Pillow's weights of 22 bits of the first sample, from the border on.

    Returns
    -------
    numpy.ndarray or None
        ``(H / 4, W / 4)`` uint8.
    """
    library = load()
    if library is None:
        return None
    height, width = plane.shape[0] // 4, plane.shape[1] // 4
    plane, border = np.ascontiguousarray(plane), np.ascontiguousarray(border, np.int32)
    out = np.empty((height, width), np.uint8)
    done = library.bitdose_bilinear_quarter(
        plane.ctypes.data, height, width, border.ctypes.data, out.ctypes.data
    )
    return out if done else None
