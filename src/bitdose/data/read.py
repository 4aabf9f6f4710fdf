"""Reading one case: the only way from a path or an array to a :class:`~bitdose.data.base.Source`.

The file's bytes are read once; digest, size and pixels all come from these bytes. The
format is known by content, never by extension. Whatever goes wrong is a
:class:`~bitdose.errors.CaseError` with one of these status words:

| status | meaning |
| --- | --- |
| ``missing-file`` | there is no such file |
| ``empty-file`` | the file holds no byte |
| ``unreadable`` | no format read here, or damaged |
| ``truncated`` | the data end before the image does |
| ``unsupported`` | a sound file of a kind that is not read |
| ``too-large`` | more pixels than ``max_pixels``, or than memory holds |
| ``no-pixels`` | a DICOM object without pixel data |
| ``wrong-frames`` | DICOM pixel data that disagree with rows, columns and frames |
| ``changed-pixels`` | a data set gave other pixels than when the study was planned |
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from bitdose.data.base import Case, Color, Source
from bitdose.data.decoded import MAX_PIXELS, Decoded
from bitdose.data.guard import decoding
from bitdose.data.sniff import sniff
from bitdose.errors import CaseError, UsageError
from bitdose.hashing import bytes_digest
from bitdose.image import Image, to_grey

_READ_HERE = "PNG, JPEG, JPEG 2000, TIFF, WebP, BMP, DICOM and NIfTI are read"


def read_case(case: Case, *, color: Color = "keep", max_pixels: int = MAX_PIXELS) -> Source:
    """Read a case's file, or take the pixels it holds; otherwise as :func:`read_source`."""
    if case.pixels is None:
        return read_source(case.path, color=color, max_pixels=max_pixels)
    _check_color(color)
    image, steps = _colored(case.pixels.read(), (case.pixels.mapping,), color)
    mapping = "; ".join(filter(None, steps))
    return Source(image, "array", None, None, case.pixels.digest, mapping)


def read_source(path: Path, *, color: Color = "keep", max_pixels: int = MAX_PIXELS) -> Source:
    """Read the image or volume in a file.

    Parameters
    ----------
    path : pathlib.Path
        The file; its extension does not matter.
    color : {"keep", "grey"}
        Whether colour images become grey by ITU-R BT.601 luma, as Pillow's
        ``convert("L")`` does.
    max_pixels : int
        Largest number of pixels (rows x columns x slices) that is decoded.

    Returns
    -------
    Source
        The image, with format, lossiness, size and digest of the file.

    Raises
    ------
    CaseError
        With a status of the table at the top of this file.
    UsageError
        If ``color`` is neither word.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise CaseError("missing-file", "the file does not exist") from None
    except OSError as error:
        raise CaseError("unreadable", f"the file cannot be opened ({type(error).__name__})") from None
    return read_bytes(data, color=color, max_pixels=max_pixels)


def read_bytes(data: bytes, *, color: Color = "keep", max_pixels: int = MAX_PIXELS) -> Source:
    """Read the image or volume in the bytes of a file; otherwise as :func:`read_source`."""
    _check_color(color)
    if not data:
        raise CaseError("empty-file", "the file holds no byte")
    name = sniff(data)
    if name is None:
        raise CaseError("unreadable", f"the content is of no known format; {_READ_HERE}")
    with decoding(name):
        image, lossy, steps = _decode(name, data, max_pixels)
    image, steps = _colored(image, steps, color)
    return Source(image, name, lossy, len(data), bytes_digest(data), "; ".join(steps))


def _check_color(color: str) -> None:
    if color not in get_args(Color):
        raise UsageError(f"color {color!r}: expected one of {', '.join(get_args(Color))}")


def _colored(image: Image, steps: tuple[str, ...], color: Color) -> tuple[Image, tuple[str, ...]]:
    if color == "grey" and image.photometric == "RGB":
        return to_grey(image), (*steps, "rgb>grey")
    return image, steps


def _decode(name: str, data: bytes, max_pixels: int) -> Decoded:
    if name == "DICOM":
        from bitdose.data.dicom import read_dicom

        return read_dicom(data, max_pixels=max_pixels)
    if name == "NIFTI":
        from bitdose.data.nifti import read_nifti

        return read_nifti(data, max_pixels=max_pixels)
    from bitdose.data.raster import read_raster

    return read_raster(name, data, max_pixels=max_pixels)


def open_image(path: str | Path, *, color: Color = "keep") -> Image:
    """Read a file's pixels as a study reads them: windowed, rescaled, 0 is black.

    Parameters
    ----------
    path : str or pathlib.Path
        An image, DICOM or NIfTI file.
    color : {"keep", "grey"}
        As for :func:`read_source`.

    Returns
    -------
    Image
        ``(H, W)``, ``(H, W, 3)`` or ``(L, H, W)``, 8 to 16 bits.

    Raises
    ------
    CaseError
        If it cannot be read.
    """
    return read_source(Path(path), color=color).image
