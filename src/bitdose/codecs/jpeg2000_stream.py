"""What a JPEG 2000 codestream says of itself: size, components, and where it ends.

By ISO/IEC 15444-1, annex A: the main header's segments are read from SOC to the first SOT, and tile-parts
must add up to an EOC at the very end. Images and tiles with an offset, and subsampled components, are
refused: no client writes them, and a decoder's memory goes by them.
"""

from __future__ import annotations

import struct

from bitdose.codecs.base import StreamHeader
from bitdose.errors import BitdoseError

_SOC, _EOC = b"\xff\x4f", b"\xff\xd9"
_SIZ, _SOT, _COM = 0xFF51, 0xFF90, 0xFF64
_SIZ_HEAD = struct.Struct(">HIIIIIIIIH")
_LONGEST_COMMENT = 100  # OpenJPEG names its version; more is no comment


def read_jpeg2000_stream(data: bytes) -> StreamHeader:
    """Read a raw codestream's headers, and check that it is one whole image and nothing else.

    Raises
    ------
    BitdoseError
        If it is damaged, not of the plain kind that clients write, or bytes follow its end.

    Examples
    --------
    >>> read_jpeg2000_stream(b"GIF89a")
    Traceback (most recent call last):
        ...
    bitdose.errors.BitdoseError: JPEG 2000 stream: it does not begin as one
    """
    if data[:2] != _SOC or data[2:4] != struct.pack(">H", _SIZ):
        raise BitdoseError("JPEG 2000 stream: it does not begin as one")
    try:
        header = _size(data)
        _check_parts(data, _main_header_end(data))
    except struct.error:
        raise BitdoseError("JPEG 2000 stream: it is damaged") from None
    return header


def _size(data: bytes) -> StreamHeader:
    _, width, height, *rest, count = _SIZ_HEAD.unpack_from(data, 6)
    left, top, tile_width, tile_height, tile_left, tile_top = rest
    parts = {struct.unpack_from("BBB", data, 6 + _SIZ_HEAD.size + 3 * index) for index in range(count)}
    plain = not (left or top or tile_left or tile_top) and tile_width >= width and tile_height >= height
    if not plain or len(parts) != 1 or not width or not height:
        raise BitdoseError("JPEG 2000 stream: expected one tile without offset and components all alike")
    depth, step_x, step_y = parts.pop()
    if depth & 0x80 or (step_x, step_y) != (1, 1):
        raise BitdoseError("JPEG 2000 stream: expected unsigned components that are not subsampled")
    return StreamHeader(height, width, count, depth + 1)


def _main_header_end(data: bytes) -> int:
    at = 2
    while True:
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == _SOT:
            return at
        if marker >> 8 != 0xFF or (marker == _COM and length > _LONGEST_COMMENT):  # noqa: PLR2004
            raise BitdoseError("JPEG 2000 stream: a segment of its header has no place there")
        at += 2 + length


def _check_parts(data: bytes, at: int) -> None:
    """Follow the tile-parts' lengths to the end of the codestream."""
    while data[at : at + 2] == struct.pack(">H", _SOT):
        (length,) = struct.unpack_from(">I", data, at + 6)
        at += length or len(data) - len(_EOC) - at  # 0: up to the end
        if at > len(data) - len(_EOC):
            raise BitdoseError("JPEG 2000 stream: it ends before its image does")
    if data[at:] != _EOC:
        raise BitdoseError("JPEG 2000 stream: bytes are left after its end")
