"""TIFF files of kinds that Pillow reads wrongly or not at all, read by tifffile and imagecodecs.

| kind | what Pillow makes of it |
| --- | --- |
| white is zero (MINISWHITE) above 8 bits, or signed, or floating point | the negative |
| signed 8 bits, unsigned 32 bits | wrapped around |
| ImageJ stack: one directory, many slices | the first slice |
| 9 to 15 bits other than 12, grey with alpha at 16 bits, WebP inside | refused |

Several channels of an OME or ImageJ file are no slices, and are refused.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.data.decoded import Decoded, check_pixel_count, spread
from bitdose.data.tiff import LOSSY_BY_COMPRESSION
from bitdose.errors import CaseError
from bitdose.image import Image, Photometric

_MINISWHITE = 0
_SIGNED, _FLOAT = 2, 3
_WEBP = 50001
_BYTE, _WORD, _LONG = 8, 16, 32
_PILLOWS_DEPTHS = frozenset({1, 2, 4, 8, 12, 16, 32, 64})
_STACK_NDIM = 3


def read_rare(data: bytes, max_pixels: int) -> Decoded | None:
    """Decode a TIFF of one of the kinds at the top of this module; None for any other.

    Parameters
    ----------
    data : bytes
        Contents of the file.
    max_pixels : int
        Limit of pixels, by the tags.

    Raises
    ------
    CaseError
        ``too-large``, or ``unsupported`` for several channels, and several pages of a rare kind.
    """
    import tifffile

    try:
        opened = tifffile.TiffFile(BytesIO(data))
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, TypeError):
        return None  # Pillow says what is wrong with it
    with opened as file:
        page = file.pages[0]
        _check_channels(file)
        slices = _imagej_slices(file)
        if slices == 1 and not _is_rare(page):
            return None
        if len(file.pages) > 1 and slices == 1:
            raise CaseError("unsupported", f"a TIFF of {len(file.pages)} pages of a kind that is read alone")
        check_pixel_count((page.imagelength, page.imagewidth, slices), max_pixels)
        return _decoded(file.series[0].asarray() if slices > 1 else page.asarray(), page)


def _is_rare(page: Any) -> bool:
    bits, kind, photometric = page.bitspersample, page.sampleformat, page.photometric
    bits = max(bits) if isinstance(bits, tuple) else bits
    deep_negative = photometric == _MINISWHITE and (bits > _BYTE or kind in (_SIGNED, _FLOAT))
    wrapped = (kind == _SIGNED and bits == _BYTE) or (kind not in (_SIGNED, _FLOAT) and bits == _LONG)
    alpha = bits == _WORD and page.samplesperpixel == 2  # noqa: PLR2004 -- grey and its alpha
    odd = bits not in _PILLOWS_DEPTHS
    return bool(deep_negative or wrapped or alpha or odd or page.compression == _WEBP)


def _check_channels(file: Any) -> None:
    if (file.is_ome or file.is_imagej) and file.series:
        series = file.series[0]
        count = dict(zip(series.axes, series.shape, strict=False)).get("C", 1)
        if count > 1:
            raise CaseError("unsupported", f"a TIFF of {count} channels, which are neither slices nor RGB")


def _imagej_slices(file: Any) -> int:
    series = file.series[0] if file.is_imagej and len(file.pages) == 1 else None
    return int(series.shape[0]) if series is not None and len(series.shape) == _STACK_NDIM else 1


def _decoded(values: NDArray[Any], page: Any) -> Decoded:
    lossy = LOSSY_BY_COMPRESSION.get(int(page.compression), False)
    steps: tuple[str, ...] = ()
    if values.ndim == _STACK_NDIM and page.samplesperpixel == 2:  # noqa: PLR2004
        values, steps = values[..., 0], ("alpha dropped",)
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    negative = page.photometric == _MINISWHITE
    if values.dtype in (np.uint8, np.uint16) and bits <= _WORD:
        if negative:
            values, steps = ((1 << bits) - 1 - values).astype(values.dtype), (*steps, "inverted")
        colour: Photometric = "RGB" if page.samplesperpixel > 2 else "MONOCHROME2"  # noqa: PLR2004
        return Decoded(Image(np.ascontiguousarray(values), bits, colour), lossy, steps)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise CaseError("unsupported", "floating-point pixels that are not all finite")
    depth = _BYTE if values.dtype.itemsize == 1 else _WORD
    pixels = spread(values, low, high, depth)
    if negative:
        pixels, steps = (np.iinfo(pixels.dtype).max - pixels).astype(pixels.dtype), (*steps, "inverted")
    return Decoded(Image(pixels, depth), lossy, (f"{low:g}..{high:g}>{depth} bits", *steps))
