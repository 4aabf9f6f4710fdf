"""Rendering for browsers: one windowed plane as an 8-bit PNG."""

from __future__ import annotations

import math

import numpy as np

from bitdose.errors import BitdoseError, UsageError
from bitdose.image import Image, rescale_bits

MOST_LEVEL = 65_535


def window_of(text: str) -> tuple[float, float] | None:
    """Parse ``CENTER,WIDTH``; None for an empty text.

    Raises
    ------
    UsageError
        If the text is not such a pair.

    Examples
    --------
    >>> window_of("1024,2048"), window_of("")
    ((1024.0, 2048.0), None)
    """
    if not text:
        return None
    parts = text.split(",")
    try:
        center, width = (float(part) for part in parts)
    except ValueError:
        center, width = math.nan, math.nan
    if not (abs(center) <= 2 * MOST_LEVEL and 0 < width <= 4 * MOST_LEVEL):
        raise UsageError("window: expected CENTER,WIDTH in samples, the width above 0")
    return center, width


def png_of(image: Image, plane: int, window: tuple[float, float] | None) -> bytes:
    """Write one plane as a PNG.

    Parameters
    ----------
    image : Image
        An image, or a volume.
    plane : int
        Index of a volume's slice, from 0.
    window : tuple of float or None
        Center and width in sample values: center -/+ width/2 become black and white.
        None shows the full range.

    Raises
    ------
    UsageError
        If the volume has no such slice.
    """
    import cv2

    if not 0 <= plane < image.n_slices:
        raise UsageError(f"slice: expected 0 to {image.n_slices - 1}, got {plane}")
    shown = image.slices()[plane]
    if window is None:
        pixels = rescale_bits(shown, 8).pixels
    else:
        center, width = window
        levels = (np.arange(shown.max_value + 1) - (center - width / 2)) / width
        pixels = np.floor(np.clip(levels, 0, 1) * 255 + 0.5).astype(np.uint8)[shown.pixels]
    if shown.photometric == "RGB":
        pixels = pixels[..., ::-1]
    written, data = cv2.imencode(".png", pixels)
    if not written:
        raise BitdoseError("the image cannot be shown")
    return bytes(data)
