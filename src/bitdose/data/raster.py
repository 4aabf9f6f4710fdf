"""Raster files: PNG, JPEG, TIFF, JPEG 2000, WebP and BMP, 8 and 16 bits.

Pillow decodes every kind for which it keeps the full bit depth, so that pixels equal Pillow's.
imagecodecs decodes the kinds that Pillow rejects or truncates to 8 bits: 16-bit colour PNG
and TIFF, JPEG 2000 of other than 8 bits, lossless and 12-bit JPEG.

Conversion of the stored samples, each step named in the mapping:

- 1 bit becomes 8; alpha is dropped, not blended; palette, CMYK and YCbCr become RGB;
- the EXIF orientation is applied;
- integers of more than 16 bits, signed integers and floats (TIFF) are mapped linearly,
  minimum to maximum, onto 16 bits;
- an animation yields its first frame; a TIFF of several pages yields a volume of grey
  slices (reduced-resolution copies skipped) where all pages share one size.

Whether a file is lossy: JPEG yes, but for its lossless processes; WebP by its VP8 or VP8L
chunk; JPEG 2000 yes with the 9/7 wavelet and unknown with 5/3, whose stream may be
truncated; TIFF by its compression tag; PNG and BMP no. Earlier lossy steps before the file
was written cannot be detected.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitdose.data import deep
from bitdose.data.decoded import Decoded, check_pixel_count, spread
from bitdose.data.streams import j2k_header, jp2_colour_order, jpeg_frame, webp_is_lossy
from bitdose.data.tiff import tiff_pages
from bitdose.data.tiff_rare import read_rare
from bitdose.errors import CaseError
from bitdose.image import Image, stack, to_grey

_PLUGINS = {
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "JPEG2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
}
_EXIF_ORIENTATION = 0x0112
_PNG_DEPTH_OFFSET = 24
_BYTE_BITS = 8
_DEEP_BITS = 16


class _Mode(NamedTuple):
    """Conversion of a Pillow mode: intermediate modes, and the name of the step."""

    via: tuple[str, ...]
    step: str


_MODES = {
    "L": _Mode((), ""),
    "RGB": _Mode((), ""),
    "1": _Mode(("L",), "1 bit>8"),
    "LA": _Mode(("L",), "alpha dropped"),
    "La": _Mode(("LA", "L"), "alpha dropped"),
    "P": _Mode(("RGB",), "palette>rgb"),
    "PA": _Mode(("RGBA", "RGB"), "palette>rgb, alpha dropped"),
    "RGBA": _Mode(("RGB",), "alpha dropped"),
    "RGBa": _Mode(("RGBA", "RGB"), "alpha dropped"),
    "RGBX": _Mode(("RGB",), ""),
    "CMYK": _Mode(("RGB",), "cmyk>rgb"),
    "YCbCr": _Mode(("RGB",), "ycbcr>rgb"),
}
_WIDE_MODES = ("I", "F")


def read_raster(format_name: str, data: bytes, *, max_pixels: int) -> Decoded:
    """Decode a raster file from memory.

    Parameters
    ----------
    format_name : str
        Format as returned by :func:`bitdose.data.sniff.sniff`.
    data : bytes
        Contents of the file.
    max_pixels : int
        Limit of decoded pixels, over all pages.

    Raises
    ------
    CaseError
        ``too-large`` by the header, ``unsupported`` for an unsupported kind; other errors are
        translated by the caller's :func:`~bitdose.data.guard.decoding`.
    """
    if format_name == "JPEG":
        frame = jpeg_frame(data)
        if frame.lossless or frame.bits > _BYTE_BITS:
            check_pixel_count((frame.height, frame.width), max_pixels)
            return Decoded(deep.decode_jpeg(data, frame.bits), not frame.lossless)
    if format_name == "TIFF":
        return _read_tiff(data, max_pixels)
    file = open_pillow(format_name, data)
    check_pixel_count((file.height, file.width), max_pixels)
    orientation = int(file.getexif().get(_EXIF_ORIENTATION, 1) or 1)
    image, steps = _pixels(format_name, file, data)
    if getattr(file, "n_frames", 1) > 1:
        steps += (f"first frame of {file.n_frames}",)
    image, turned = _oriented(image, orientation)
    return Decoded(image, _is_lossy(format_name, data), steps + turned)


def open_pillow(format_name: str, data: bytes) -> Any:
    """Open data with Pillow's plugin of a format, without decoding pixels.

    ``PIL.Image.open`` would check the size against a process-wide limit; the plugin's class
    does not, and this module checks its own limit.
    """
    from importlib import import_module
    from io import BytesIO

    module, name = _PLUGINS[format_name]
    return getattr(import_module(f"PIL.{module}"), name)(BytesIO(data))


def from_pillow(file: Any) -> tuple[Image, tuple[str, ...]]:
    """Decode an opened Pillow image and convert it to grey or RGB.

    Raises
    ------
    CaseError
        ``unsupported`` for a Pillow mode that is neither grey nor RGB.
    """
    if file.mode.startswith("I;16"):
        return Image(np.asarray(file).astype(np.uint16), _DEEP_BITS), ()
    if file.mode in _WIDE_MODES:
        return _from_wide(np.asarray(file))
    mode = _MODES.get(file.mode)
    if mode is None:
        raise CaseError("unsupported", f"pixels of Pillow's mode {file.mode}; save as grey or RGB")
    for name in mode.via:
        file = file.convert(name)
    pixels = np.asarray(file)
    steps = (mode.step,) if mode.step else ()
    return Image(pixels, 8, "RGB" if pixels.ndim == 3 else "MONOCHROME2"), steps  # noqa: PLR2004


def _from_wide(values: NDArray[Any]) -> tuple[Image, tuple[str, ...]]:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise CaseError("unsupported", "floating-point pixels that are not all finite")
    return Image(spread(values, low, high, 16), 16), (f"{low:g}..{high:g}>16 bits",)


def _pixels(format_name: str, file: Any, data: bytes) -> tuple[Image, tuple[str, ...]]:
    if format_name == "PNG" and data[_PNG_DEPTH_OFFSET] == _DEEP_BITS:
        return deep.decode_png(data)
    if format_name == "JPEG2000":
        header = j2k_header(data)
        if any(bits != _BYTE_BITS for bits in header.bits) or any(header.signed):
            return deep.decode_jpeg2000(data, header)
        return _in_colour_order(*from_pillow(file), jp2_colour_order(data))
    return from_pillow(file)


def _in_colour_order(
    image: Image, steps: tuple[str, ...], order: tuple[int, ...]
) -> tuple[Image, tuple[str, ...]]:
    """Bring the channels of a JPEG 2000 file to red, green, blue, which Pillow leaves as they are coded."""
    if image.photometric != "RGB" or order == (0, 1, 2):
        return image, steps
    return image.with_pixels(image.pixels[..., order]), (*steps, "channels by their definition>rgb")


def _is_lossy(format_name: str, data: bytes) -> bool | None:
    if format_name == "WEBP":
        return webp_is_lossy(data)
    return j2k_header(data).lossy if format_name == "JPEG2000" else format_name == "JPEG"


def _read_tiff(data: bytes, max_pixels: int) -> Decoded:
    rare = read_rare(data, max_pixels)
    if rare is not None:
        return rare
    file = open_pillow("TIFF", data)
    pages = tiff_pages(file, max_pixels)
    images: list[Image] = []
    steps: list[str] = []
    lossy: list[bool | None] = []
    for page in pages:
        file.seek(page.number)
        if page.needs_depth:
            image, done = deep.decode_tiff(data, page.number, planar=page.planar)
            image, turned = _oriented(image, page.orientation)
            done += turned
        else:
            image, done = from_pillow(file)
            image, done = page.finished(image), done + page.orientation_step
        images.append(image)
        steps.extend(step for step in done if step not in steps)
        lossy.append(page.lossy)
    known = None if None in lossy else False
    return Decoded(_stacked(images, steps), True if True in lossy else known, tuple(steps))


def _stacked(images: list[Image], steps: list[str]) -> Image:
    if len(images) == 1:
        return images[0]
    if any(image.photometric == "RGB" for image in images):
        steps.append("rgb pages>grey volume")
    grey = [to_grey(image) for image in images]
    if len({(image.pixels.shape, image.bits) for image in grey}) > 1:
        raise CaseError("unsupported", f"a TIFF of {len(images)} pages of different size or depth")
    return stack(grey, volume=True)


def _oriented(image: Image, orientation: int) -> tuple[Image, tuple[str, ...]]:
    if orientation not in range(2, 9):
        return image, ()
    return image.with_pixels(orient(image.pixels, orientation)), (f"exif orientation {orientation}",)


def orient(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply an EXIF orientation, 1 to 8, to stored pixels.

    Parameters
    ----------
    pixels : numpy.ndarray
        ``(H, W)`` or ``(H, W, C)``.
    orientation : int
        EXIF orientation, 1 to 8.

    Examples
    --------
    >>> import numpy as np
    >>> orient(np.array([[1, 2], [3, 4]]), 6).tolist()
    [[3, 1], [4, 2]]
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
