"""Near-lossless JPEG-LS as a codec of another package, for tests: DICOM has a transfer syntax for it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import imagecodecs
import numpy as np

from bitdose.codecs.base import DicomSyntax, QualityParameter, StreamHeader
from bitdose.errors import BitdoseError
from bitdose.image import Image

_EOI, _SOS, _SOF, _APP8 = 0xD9, 0xDA, 0xF7, 0xE8


@dataclass(frozen=True)
class JpegLs:
    """JPEG-LS (ISO/IEC 14495-1) of 8-bit grey or RGB; ``quality`` is NEAR, the largest error of a sample."""

    quality: float
    unit: str = "near"
    options: tuple[str, ...] = ()

    title: ClassVar[str] = "JPEG-LS"
    quality_parameters: ClassVar[tuple[QualityParameter, ...]] = (
        QualityParameter(
            "near", 1, 60, "up", integer=True, meaning="largest error", phrase="with errors up to {}"
        ),
    )
    option_names: ClassVar[tuple[str, ...]] = ()
    max_bits: ClassVar[int] = 8
    suffix: ClassVar[str] = ".jls"
    dicom: ClassVar[DicomSyntax] = DicomSyntax("1.2.840.10008.1.2.4.81", "ISO_14495_1", "RGB")

    def encode(self, image: Image) -> bytes:
        """Code one plane."""
        return bytes(imagecodecs.jpegls_encode(image.pixels, level=int(self.quality)))

    def decode(self, data: bytes) -> Image:
        """Decode a stream to 8-bit grey or RGB."""
        pixels = np.asarray(imagecodecs.jpegls_decode(data))
        return Image(pixels, 8, "RGB" if pixels.ndim == 3 else "MONOCHROME2")

    @classmethod
    def inspect(cls, data: bytes) -> StreamHeader:
        """Read the frame header; refuses all segments but frame and scans."""
        frames = [body for marker, body in _segments(data) if marker == _SOF]
        if len(frames) != 1:
            raise BitdoseError("JPEG-LS stream: expected one frame")
        bits, height, width, components = struct.unpack_from(">BHHB", frames[0])
        return StreamHeader(height, width, components, bits)

    def too_strong(self, data: bytes) -> str:
        """Compare NEAR, which every scan states."""
        near = max(body[-3] for marker, body in _segments(data) if marker == _SOS)
        return f"its NEAR is {near}: expected at most {self.quality:g}" if near > self.quality else ""

    @classmethod
    def library(cls) -> str:
        """Name and version of the library build."""
        return str(imagecodecs.jpegls_version())


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and body of every segment, from SOI to EOI; CharLS writes a SPIFF header of its own."""
    if data[:2] != b"\xff\xd8" or data[-2:] != bytes((0xFF, _EOI)):
        raise BitdoseError("JPEG-LS stream: it does not begin or end as one")
    at = 2
    while data[at + 1] != _EOI:
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        is_spiff = data[at + 1] == _APP8 and (body[:6] == b"SPIFF\0" or body == b"\0\0\0\1\xff\xd8")
        if data[at] != 0xFF or not (is_spiff or data[at + 1] in {_SOF, _SOS}):
            raise BitdoseError("JPEG-LS stream: a segment has no place there")
        yield data[at + 1], body
        is_scan = data[at + 1] == _SOS
        at += 2 + length
        while is_scan and not (data[at] == 0xFF and data[at + 1] >= 0x80):
            at += 1  # in coded data 255 is followed by a zero bit
    if at + 2 != len(data):
        raise BitdoseError("JPEG-LS stream: bytes are left after its end")
