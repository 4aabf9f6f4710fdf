"""JPEG (ISO/IEC 10918-1) by libjpeg-turbo through Pillow."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from bitdose.codecs.base import BrowserSupport, DicomSyntax, QualityParameter, RateFloor, StreamHeader
from bitdose.codecs.jpeg_stream import JpegStream, excess, read_jpeg_stream
from bitdose.codecs.jpeg_whole import check_whole
from bitdose.errors import CaseError, UsageError
from bitdose.image import Image

_MAX_SIDE = 65_500
_SAVE: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "optimize": {"optimize": True},
        "progressive": {"progressive": True},
        "444": {"subsampling": "4:4:4"},
        "420": {"subsampling": "4:2:0"},
    }
)


@dataclass(frozen=True)
class Jpeg:
    """Baseline or progressive JPEG of 8-bit grey or RGB.

    Without options: default Huffman tables and, for colour, chroma 4:2:0, as Pillow writes
    them. Default tables cannot go below 6 bits per 8x8 grey block, so the strongest ratio is
    85.3:1 of the raw pixels; ``optimize`` makes tables for each image and goes well below, with
    the same pixels.

    Parameters
    ----------
    quality : float
        1 (strongest) to 100, the Independent JPEG Group's scale.
    options : tuple of str
        ``optimize`` (optimised Huffman tables), ``progressive`` (implies optimised tables),
        ``444`` or ``420`` (chroma, colour only).

    Examples
    --------
    >>> flat = Image(np.full((16, 16), 128, np.uint8))
    >>> codec = Jpeg(90)
    >>> codec.decode(codec.encode(flat)) == flat
    True
    """

    quality: float
    unit: str = "q"
    options: tuple[str, ...] = ()

    title: ClassVar[str] = "JPEG"
    quality_parameters: ClassVar[tuple[QualityParameter, ...]] = (
        QualityParameter(
            "q",
            1,
            100,
            "down",
            integer=True,
            meaning="IJG quality",
            axis_title="Quality setting",
            phrase="of quality {}",
        ),
    )
    option_names: ClassVar[tuple[str, ...]] = tuple(_SAVE)
    max_bits: ClassVar[int] = 8
    suffix: ClassVar[str] = ".jpg"
    # JPEG Baseline (Process 1), PS3.5 8.2.1 and A.4.1. A progressive stream is not process 1, and the
    # syntaxes that held it are retired (PS3.5, section 10). PS3.3 C.7.6.3.1.2 has no value for YCbCr of
    # 4:2:0: YBR_FULL_422 is the one for lossy syntaxes other than JPEG 2000 (C.8.12.4.1.5); validators
    # refuse YBR_FULL.
    dicom: ClassVar[DicomSyntax] = DicomSyntax(
        "1.2.840.10008.1.2.4.50", "ISO_10918_1", "YBR_FULL_422", refused=("progressive",)
    )
    browser: ClassVar[BrowserSupport] = BrowserSupport(("q",), ("optimize", "444", "420"))

    def __post_init__(self) -> None:
        """Refuse options that contradict each other."""
        if {"444", "420"} <= set(self.options):
            raise UsageError("jpeg: options 444 and 420 contradict each other; name one")

    def encode(self, image: Image) -> bytes:
        """Code one plane; raises ``CaseError`` for a side beyond JPEG's limit."""
        from PIL import Image as PillowImage

        if max(image.height, image.width) > _MAX_SIDE:
            raise CaseError("codec-limit", f"JPEG holds at most {_MAX_SIDE} samples a side")
        settings: dict[str, Any] = {}
        for option in self.options:
            settings |= _SAVE[option]
        out = io.BytesIO()
        PillowImage.fromarray(image.pixels).save(out, "JPEG", quality=int(self.quality), **settings)
        return out.getvalue()

    def decode(self, data: bytes) -> Image:
        """Decode a stream to 8-bit grey or RGB."""
        from PIL.JpegImagePlugin import JpegImageFile

        # Pillow's open() would refuse large images by a limit that is global to the process.
        with JpegImageFile(io.BytesIO(data)) as opened:
            pixels = np.asarray(opened)
        return Image(pixels, 8, "RGB" if pixels.ndim == 3 else "MONOCHROME2")  # noqa: PLR2004

    @classmethod
    def inspect(cls, data: bytes) -> StreamHeader:
        """Read a stream's markers from SOI to EOI; refuses foreign segments and missing scans."""
        found = read_jpeg_stream(data)
        return StreamHeader(found.height, found.width, len(found.components), 8)

    def too_strong(self, data: bytes) -> str:
        """Compare a stream's quantisation tables and sampling with those that this codec writes.

        What was lost before it was coded, as by an earlier, stronger coding, does not show.

        Examples
        --------
        >>> stream = Jpeg(20).encode(Image(np.zeros((16, 16), np.uint8)))
        >>> Jpeg(30).too_strong(stream)
        'its quantisation steps are up to 1.6 times those of jpeg:q30'
        >>> Jpeg(20).too_strong(stream)
        ''
        """
        given = read_jpeg_stream(data)
        if problem := excess(given, _reference(self, len(given.components))):
            return f"{problem} of jpeg:{'+'.join((f'q{self.quality:g}', *self.options))}"
        check_whole(data)
        return ""

    def rate_floor(self) -> RateFloor | None:
        """Give the floor of default tables: at least 4 + 2 bits for an 8x8 block of a grey image."""
        own_tables = {"optimize", "progressive"} & set(self.options)
        return None if own_tables else RateFloor(6 / 64, "default Huffman tables")

    @classmethod
    def library(cls) -> str:
        """Name and version of the library build."""
        import PIL
        from PIL import features

        turbo = features.version_feature("libjpeg_turbo")
        build = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version_codec('jpg')}"
        return f"{build} (Pillow {PIL.__version__})"


@lru_cache(maxsize=16)
def _reference(codec: Jpeg, components: int) -> JpegStream:
    """Read the tables that a codec writes."""
    colour = components == 3  # noqa: PLR2004
    pixels = np.zeros((16, 16, 3) if colour else (16, 16), np.uint8)
    return read_jpeg_stream(codec.encode(Image(pixels, 8, "RGB" if colour else "MONOCHROME2")))
