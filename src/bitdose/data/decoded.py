"""Output of the format readers for ``read.py``, and their shared steps."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import CaseError
from bitdose.image import Image, container

MAX_PIXELS = 2**29


class Decoded(NamedTuple):
    """Decoded image, with the lossiness of its file and the steps applied to the stored samples."""

    image: Image
    lossy: bool | None
    steps: tuple[str, ...] = ()


def check_pixel_count(shape: tuple[int, ...], max_pixels: int) -> None:
    """Reject an image by its header, before pixels are decoded.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns and, for a stack, slices, in any order.
    max_pixels : int
        Limit of the product of ``shape``.

    Raises
    ------
    CaseError
        ``too-large`` above the limit, ``unreadable`` for an empty image.

    Examples
    --------
    >>> check_pixel_count((100, 100), 1_000)
    Traceback (most recent call last):
        ...
    bitdose.errors.CaseError: too-large: 100x100 is 10000 pixels; at most 1000 are read (max_pixels)
    """
    n_pixels = math.prod(shape)
    text = "x".join(str(side) for side in shape)
    if min(shape) < 1:
        raise CaseError("unreadable", f"an image of {text} holds no pixel")
    if n_pixels > max_pixels:
        reason = f"{text} is {n_pixels} pixels; at most {max_pixels} are read (max_pixels)"
        raise CaseError("too-large", reason)


def spread(values: NDArray[Any], low: float, high: float, bits: int) -> NDArray[Any]:
    """Map ``low..high`` linearly onto the full range of ``bits`` bits, rounding half up.

    ``y = floor((x - low) / (high - low) * (2**bits - 1) + 1/2)``, clipped; all zero if
    ``high`` equals ``low``. Stacks are mapped slice by slice, to bound the memory.

    Parameters
    ----------
    values : numpy.ndarray
        ``(H, W)`` or ``(L, H, W)`` real numbers, finite.
    low, high : float
        Values mapped to 0 and ``2**bits - 1``.
    bits : int
        1 to 16.

    Examples
    --------
    >>> import numpy as np
    >>> spread(np.array([[-10, 0, 10]]), -10, 10, 8).tolist()
    [[0, 128, 255]]
    """
    top = (1 << bits) - 1
    result = np.zeros(values.shape, container(bits))
    width = float(high) - float(low)
    if width <= 0:
        return result
    stacked = values.ndim == 3  # noqa: PLR2004
    for target, plane in zip(result, values, strict=True) if stacked else ((result, values),):
        unit = (plane.astype(np.float64) - low) / width
        target[...] = np.floor(np.clip(unit, 0.0, 1.0) * top + 0.5)
    return result
