"""Raster streams that Pillow rejects or truncates to 8 bits, decoded by imagecodecs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.data.streams import J2kHeader, check_jpeg_end
from bitdose.errors import CaseError
from bitdose.image import Image, container, rescale_bits

_GREY_NDIM = 2
_BYTE_BITS = 8
_MAX_BITS = 16


def decode_png(data: bytes) -> tuple[Image, tuple[str, ...]]:
    """Decode a 16-bit PNG: grey or RGB, with or without alpha."""
    import imagecodecs

    return _without_alpha(imagecodecs.png_decode(data), _MAX_BITS)


def decode_tiff(data: bytes, index: int, *, planar: bool) -> tuple[Image, tuple[str, ...]]:
    """Decode one page of a TIFF whose samples are 16 bits wide."""
    import imagecodecs

    pixels = imagecodecs.tiff_decode(data, index=index)
    return _without_alpha(np.moveaxis(pixels, 0, -1) if planar else pixels, _MAX_BITS)


def decode_jpeg(data: bytes, bits: int) -> Image:
    """Decode a lossless or 12-bit JPEG stream of ``bits`` bits."""
    import imagecodecs

    check_jpeg_end(data)
    return _without_alpha(imagecodecs.jpeg_decode(data), bits)[0]


def decode_jpeg2000(data: bytes, header: J2kHeader) -> tuple[Image, tuple[str, ...]]:
    """Decode a JPEG 2000 stream whose components are not all 8 bits wide and unsigned.

    Components of different depth are unsupported. Signed samples are shifted up by half their
    range, as a named step.

    Raises
    ------
    CaseError
        ``unsupported`` for components of different depth, or above 16 bits.
    """
    import imagecodecs

    if len(set(header.bits)) > 1 or header.bits[0] > _MAX_BITS:
        raise CaseError("unsupported", "JPEG 2000 components of different depth, or above 16 bits")
    bits = header.bits[0]
    pixels: NDArray[Any] = imagecodecs.jpeg2k_decode(data)
    steps: tuple[str, ...] = ()
    if any(header.signed):
        pixels = (pixels.astype(np.int32) + (1 << (bits - 1))).astype(container(bits))
        steps = ("signed>unsigned",)
    image, dropped = _without_alpha(pixels, bits)
    return image, steps + dropped


def _without_alpha(pixels: NDArray[Any], bits: int) -> tuple[Image, tuple[str, ...]]:
    n_samples = 1 if pixels.ndim == _GREY_NDIM else pixels.shape[-1]
    steps = ("alpha dropped",) if n_samples in (2, 4) else ()
    if n_samples in (1, 2):
        plane = pixels if pixels.ndim == _GREY_NDIM else pixels[..., 0]
        image = Image(plane.astype(container(bits), copy=False), bits)
    elif n_samples in (3, 4):
        image = Image(pixels[..., :3].astype(container(bits), copy=False), bits, "RGB")
    else:
        raise CaseError("unsupported", f"{n_samples} samples per pixel; expected grey or RGB")
    if bits >= _BYTE_BITS:
        return image, steps
    return rescale_bits(image, 8), (*steps, f"{bits} bit>8")
