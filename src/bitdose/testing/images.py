"""Images for checks: random texture with the falling spectrum of natural images."""

from __future__ import annotations

import numpy as np

from bitdose.image import Image, container

# Natural images' amplitude falls about as 1/f; somewhat steeper is as smooth as a radiograph.
_FALL = 1.4
_CHROMA = 0.3
_GREY = 1
_RGB = 3


def textured_image(
    height: int, width: int, *, rng: np.random.Generator, bits: int = 8, colour: bool = False
) -> Image:
    """Draw random texture that spans the full range of its depth.

    Parameters
    ----------
    height, width : int
        Samples, 1 and up.
    rng : numpy.random.Generator
        Source of the texture; it is advanced.
    bits : int
        Bits in use, 1 to 16.
    colour : bool
        RGB instead of grey; the channels resemble each other, as they do in photographs.

    Returns
    -------
    Image
        ``(H, W)`` MONOCHROME2 or ``(H, W, 3)`` RGB.

    Examples
    --------
    >>> image = textured_image(5, 9, rng=np.random.default_rng(0), bits=12)
    >>> image.pixels.shape, int(image.pixels.min()), int(image.pixels.max())
    ((5, 9), 0, 4095)
    """
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    noise = rng.normal(size=(_RGB if colour else _GREY, height, width))
    planes = np.fft.irfft2(np.fft.rfft2(noise) / frequency**_FALL, s=(height, width))
    planes = planes[0] + _CHROMA * planes
    planes -= planes.min()
    planes *= ((1 << bits) - 1) / (planes.max() or 1.0)  # a single sample has no texture
    pixels = np.rint(planes).astype(container(bits))
    return Image(np.moveaxis(pixels, 0, -1), bits, "RGB") if colour else Image(pixels[0], bits)
