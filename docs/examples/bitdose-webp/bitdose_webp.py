"""WebP (lossy) as a codec for BitDose, by libwebp through Pillow."""

import io
import struct
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image as PillowImage
from PIL import features

from bitdose.codecs.base import QualityParameter, StreamHeader
from bitdose.errors import BitdoseError, CaseError
from bitdose.image import Image

_MAX_SIDE = 16_383
_GREY = b"grey"  # WebP is always colour: an XMP note of 4 bytes (30 with its headers) says what went in


@dataclass(frozen=True)
class WebP:
    """Lossy WebP of 8-bit grey or RGB; ``quality`` is libwebp's, 0 (strongest) to 100."""

    quality: float
    unit: str = "q"
    options: tuple[str, ...] = ()

    title: ClassVar[str] = "WebP"
    quality_parameters: ClassVar[tuple[QualityParameter, ...]] = (
        QualityParameter("q", 0, 100, "down", integer=True, meaning="WebP quality", phrase="of quality {}"),
    )
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
    def inspect(cls, data: bytes) -> StreamHeader:
        """Read the size off the frame's header; refuses anything but the frame and our own note."""
        frame, grey = _frame(data)
        width, height = struct.unpack_from("<HH", frame, 6)  # RFC 6386, 9.1; the upper two bits are a scale
        return StreamHeader(height, width, 1 if grey else 3, 8)

    def too_strong(self, data: bytes) -> str:
        """Compare the coarsest quantiser with that of the decoded image, coded again at this quality.

        libwebp sets quantisers by the image, and finer ones when it codes its own output again, hence the
        tolerance: 20 qualities below are found, 10 below mostly not.
        """
        given = _coarsest(_frame(data)[0])
        allowed = 1.2 * _coarsest(_frame(self.encode(self.decode(data)))[0]) + 1
        return f"its quantiser is {given}: expected at most {allowed:.0f}" if given > allowed else ""

    @classmethod
    def library(cls) -> str:
        """Name and version of the library build."""
        return f"libwebp {features.version('webp')} (Pillow {features.version('pil')})"


def _frame(data: bytes) -> tuple[bytes, bool]:
    """Return the coded frame, and whether our note stands beside it (RFC 9649)."""
    chunks, at = {}, 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks[data[at : at + 4]] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    whole = data[:4] + data[8:12] == b"RIFFWEBP" and len(data) == at == 8 + int.from_bytes(
        data[4:8], "little"
    )
    frame, note = chunks.pop(b"VP8 ", b""), chunks.pop(b"XMP ", None)
    if not whole or frame[3:6] != b"\x9d\x01\x2a" or note not in (None, _GREY) or set(chunks) > {b"VP8X"}:
        raise BitdoseError("WebP stream: expected one whole lossy frame and nothing else")
    return frame, note == _GREY


def _coarsest(frame: bytes) -> int:
    """Return the largest quantiser index of a frame's segments, 0 to 127 (RFC 6386, 9.3 and 9.6)."""
    bits = _Bits(frame[10:])
    bits.number(2)
    segments = []
    if bits.number(1):
        has_map = bits.number(1)
        if bits.number(1):
            bits.number(1)  # libwebp writes quantisers themselves, not their differences
            segments = [bits.optional(7) for _ in range(4)]
            _ = [bits.optional(6) for _ in range(4)]  # strengths of the loop filter
        _ = [bits.number(1) and bits.number(8) for _ in range(3 * has_map)]
    bits.number(10)
    if bits.number(1) and bits.number(1):
        _ = [bits.optional(6) for _ in range(8)]
    bits.number(2)
    return max(segments) if segments else bits.number(7)


class _Bits:
    """Reads bits of probability one half from VP8's arithmetic coder (RFC 6386, 7.3)."""

    def __init__(self, data: bytes) -> None:
        self._data, self._value, self._range, self._left = (
            iter(data[2:]),
            int.from_bytes(data[:2], "big"),
            255,
            8,
        )

    def number(self, n_bits: int) -> int:
        """Read an unsigned number."""
        value = 0
        for _ in range(n_bits):
            split = 1 + ((self._range - 1) >> 1)
            bit = self._value >= split << 8
            value = 2 * value + bit
            self._value -= (split << 8) * bit
            self._range = self._range - split if bit else split
            while self._range < 128:
                self._value, self._range, self._left = 2 * self._value, 2 * self._range, self._left - 1
                if not self._left:
                    self._value, self._left = self._value + next(self._data, 0), 8
        return value

    def optional(self, n_bits: int) -> int:
        """Read a signed number behind a bit that says whether there is one."""
        if not self.number(1):
            return 0
        value = self.number(n_bits)
        return -value if self.number(1) else value
