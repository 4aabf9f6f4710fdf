"""WebP (lossy) as a codec for BitDose, by libwebp through Pillow."""

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image as PillowImage
from PIL import features

from bitdose.codecs.base import QualityParameter
from bitdose.errors import CaseError
from bitdose.image import Image

_MAX_SIDE = 16_383
_GREY = b"grey"  # WebP is always colour: an XMP note of 4 bytes (30 with its headers) says what went in


@dataclass(frozen=True)
class WebP:
    """Lossy WebP of 8-bit grey or RGB; ``quality`` is libwebp's, 0 (strongest) to 100."""

    quality: float
    unit: str = "q"
    options: tuple[str, ...] = ()

    knobs: ClassVar[tuple[QualityParameter, ...]] = (QualityParameter("q", 0, 100, "down", integer=True, meaning="WebP quality"),)
    option_names: ClassVar[tuple[str, ...]] = ()
    max_bits: ClassVar[int] = 8
    suffix: ClassVar[str] = ".webp"

    def encode(self, image: Image) -> bytes:
        """Code one plane; raises ``CaseError`` for a side beyond WebP's limit."""
        if max(image.height, image.width) > _MAX_SIDE:
            raise CaseError("codec-limit", f"WebP holds at most {_MAX_SIDE} samples a side")
        out, note = io.BytesIO(), b"" if image.photometric == "RGB" else _GREY
        PillowImage.fromarray(image.pixels).save(out, "WEBP", quality=int(self.quality), xmp=note)
        return out.getvalue()

    def decode(self, data: bytes) -> Image:
        """Decode a stream to 8-bit grey or RGB."""
        with PillowImage.open(io.BytesIO(data), formats=["WEBP"]) as opened:
            grey = opened.info.get("xmp") == _GREY
            pixels = np.asarray(opened.convert("L" if grey else "RGB"))
        return Image(pixels, 8, "MONOCHROME2" if grey else "RGB")

    @classmethod
    def library(cls) -> str:
        """Name and version of the library build."""
        return f"libwebp {features.version('webp')} (Pillow {features.version('pil')})"
