"""JPEG (ISO/IEC 10918-1) by libjpeg-turbo through Pillow."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from bitdose.codecs.base import QualityParameter
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

    knobs: ClassVar[tuple[QualityParameter, ...]] = (
        QualityParameter("q", 1, 100, "down", integer=True, meaning="IJG quality"),
    )
    option_names: ClassVar[tuple[str, ...]] = tuple(_SAVE)
    max_bits: ClassVar[int] = 8
    suffix: ClassVar[str] = ".jpg"

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
    def library(cls) -> str:
        """Name and version of the library build."""
        import PIL
        from PIL import features

        turbo = features.version_feature("libjpeg_turbo")
        build = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version_codec('jpg')}"
        return f"{build} (Pillow {PIL.__version__})"
