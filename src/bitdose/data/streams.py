"""Headers of coded streams: bit depth, size, and whether the coding is lossy.

Only fields that the decoder libraries do not expose are parsed, by the tables of the standards:
ISO/IEC 10918-1 B.2.2 (JPEG frame header), ISO/IEC 15444-1 A.5.1 and A.6.1 (SIZ, COD) and
I.4 (boxes), RFC 9649 (WebP chunks).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from bitdose.errors import CaseError

_MARKER = 0xFF
_JPEG_STANDALONE = {0x00, 0x01, *range(0xD0, 0xD9), _MARKER}
_JPEG_LS = 0xF7
_JPEG_FRAMES = {*range(0xC0, 0xD0), _JPEG_LS} - {0xC4, 0xC8, 0xCC}
_JPEG_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_J2K_COD = 0x52
_J2K_SOT = 0x90
_J2K_SIGN_BIT = 0x80
_BOX_HEADER_BYTES = 8


class JpegFrame(NamedTuple):
    """Frame header of a JPEG stream: precision in bits, size in pixels, lossless process or not."""

    bits: int
    height: int
    width: int
    lossless: bool


class J2kHeader(NamedTuple):
    """Header of a JPEG 2000 codestream: size in pixels, bits and sign per component, coding style.

    ``transformed`` says whether the stream has a colour transform of its own, which decoders undo.
    """

    height: int
    width: int
    bits: tuple[int, ...]
    signed: tuple[bool, ...]
    reversible: bool
    transformed: bool = False

    @property
    def lossy(self) -> bool | None:
        """True for the 9/7 wavelet; None for 5/3, whose stream may be truncated."""
        return None if self.reversible else True


def jpeg_frame(data: bytes) -> JpegFrame:
    """Read the frame header of a JPEG stream.

    Raises
    ------
    CaseError
        ``truncated`` where the stream ends before its frame header.
    """
    at = 2
    while at + 9 <= len(data):
        if data[at] != _MARKER:
            at += 1
            continue
        marker = data[at + 1]
        if marker in _JPEG_STANDALONE:
            at += 1 if marker == _MARKER else 2
            continue
        if marker in _JPEG_FRAMES:
            bits, height, width = struct.unpack_from(">BHH", data, at + 4)
            return JpegFrame(bits, height, width, marker in _JPEG_LOSSLESS)
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    raise CaseError("truncated", "the JPEG stream ends before its frame header")


def check_jpeg_end(data: bytes) -> None:
    """Reject a JPEG or JPEG-LS stream with an unterminated last scan: libjpeg fills it with grey.

    Raises
    ------
    CaseError
        ``truncated``; coded samples never contain a marker, so there are no false matches.
    """
    scan = data.rfind(b"\xff\xda")
    if scan < 0 or data.find(b"\xff\xd9", scan) < 0:
        raise CaseError("truncated", "the JPEG stream ends before its image does")


def j2k_header(data: bytes) -> J2kHeader:
    """Read SIZ and COD of a codestream, raw or in a JP2 file.

    Raises
    ------
    CaseError
        ``truncated`` where the data end before both.
    """
    start = _codestream_offset(data)
    try:
        x, y, x0, y0 = struct.unpack_from(">4I", data, start + 8)
        (n_components,) = struct.unpack_from(">H", data, start + 40)
        depths = struct.unpack_from(f">{3 * n_components}B", data, start + 42)[::3]
        style = _coding_style(data, start + 2)
        reversible, transformed = data[style + 13] == 1, data[style + 8] == 1
    except (struct.error, IndexError):
        raise CaseError("truncated", "the JPEG 2000 header is cut off") from None
    bits = tuple((depth & ~_J2K_SIGN_BIT) + 1 for depth in depths)
    signed = tuple(depth >= _J2K_SIGN_BIT for depth in depths)
    return J2kHeader(y - y0, x - x0, bits, signed, reversible, transformed)


def jp2_colour_order(data: bytes) -> tuple[int, ...]:
    """Return which channels hold red, green and blue (ISO/IEC 15444-1, I.5.3.6); 0, 1, 2 by default.

    Raises
    ------
    CaseError
        ``unsupported`` for a definition in which a colour is missing or has two channels.
    """
    usual = (0, 1, 2)
    if data[:2] == b"\xff\x4f":
        return usual
    header = next((part for name, *part in _boxes(data, 0, len(data)) if name == b"jp2h"), None)
    inside = _boxes(data, *header) if header else iter(())
    at, end = next(((low, high) for name, low, high in inside if name == b"cdef"), (0, 0))
    found = {}
    for place in range(at + 2, end - 5, 6):
        channel, kind, colour = struct.unpack_from(">3H", data, place)
        if kind == 0 and colour:
            found[colour] = channel
    if not found or set(found) != {1, 2, 3}:
        return usual
    if sorted(found.values()) != list(usual):
        raise CaseError("unsupported", "a JPEG 2000 channel definition that is no order of three colours")
    return found[1], found[2], found[3]


def webp_is_lossy(data: bytes) -> bool:
    """Whether any image chunk of a WebP file is VP8 (lossy) rather than VP8L."""
    at = 12
    while at + 8 <= len(data):
        name = data[at : at + 4]
        if name == b"VP8 ":
            return True
        # An animation frame has a 16-byte header before its image chunk.
        skip = 16 if name == b"ANMF" else int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + skip + (skip & 1)
    return False


def _codestream_offset(data: bytes) -> int:
    if data[:2] == b"\xff\x4f":
        return 0
    for name, at, _ in _boxes(data, 0, len(data)):
        if name == b"jp2c":
            return at
    raise CaseError("truncated", "the JPEG 2000 file has no codestream")


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the contents of each JP2 box (ISO/IEC 15444-1, I.4)."""
    while at + _BOX_HEADER_BYTES <= end:
        n_bytes, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        long = n_bytes == 1
        step = int.from_bytes(data[at + 8 : at + 16], "big") if long else n_bytes
        step = step if step >= _BOX_HEADER_BYTES else end - at  # 0: up to the end
        yield name, at + (2 * _BOX_HEADER_BYTES if long else _BOX_HEADER_BYTES), min(at + step, end)
        at += step


def _coding_style(data: bytes, at: int) -> int:
    """Return where the main COD marker stands; its wavelet (0: 9/7, 1: 5/3) is 13 bytes on."""
    while data[at] == _MARKER and data[at + 1] != _J2K_SOT:
        if data[at + 1] == _J2K_COD:
            return at
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    raise IndexError(at)
