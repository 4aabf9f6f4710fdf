"""Detection of truncated JPEG streams, for which decoders silently invent pixels.

Invented pixels depend on the bytes after the coded data. So the stream is decoded as is and with some bytes
inserted after its coded data, which a decoder never reads for a complete image: differing pixels prove
truncation.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import BitdoseError

_EOI, _SOS, _FF = 0xD9, 0xDA, 0xFF
_RESTARTS = range(0xD0, 0xD8)
_FILLER = bytes(np.random.default_rng(0).integers(0, 255, 256, np.uint8))  # 255 would begin a marker
_LAST = b"".join(_FILLER + bytes((_FF, marker)) for marker in (*_RESTARTS, *_RESTARTS)) + _FILLER
"""Inserted after a scan: at a restart, a decoder reads on only after the expected restart marker."""


def check_whole(data: bytes) -> None:
    """Reject a JPEG stream whose coded data are truncated.

    Parameters
    ----------
    data : bytes
        A stream of checked size, since it is decoded twice.

    Raises
    ------
    BitdoseError
        If it is not whole. A damaged one may raise what its decoder raises.
    """
    if not np.array_equal(_pixels(data), _pixels(with_filler(data))):
        raise BitdoseError("JPEG stream: truncated coded data")


def with_filler(data: bytes) -> bytes:
    """Return a stream with bytes inserted before every marker that follows coded data, restarts included.

    Raises
    ------
    BitdoseError
        If its markers are inconsistent.
    """
    try:
        return b"".join(_parts(data))
    except (struct.error, IndexError):
        raise BitdoseError("JPEG stream: it is damaged") from None


def _parts(data: bytes) -> list[bytes]:
    parts, begun, at = [], 0, 2
    while data[at + 1] != _EOI:
        if data[at + 1] == _FF:  # a fill byte before a marker
            at += 1
            continue
        in_scan = data[at + 1] == _SOS
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        while in_scan:
            at = _marker(data, at)
            begins, in_scan = begun, data[at + 1] in _RESTARTS
            parts += [data[begins:at], _FILLER if in_scan else _LAST]
            begun = at
            at += 2 * in_scan
    return [*parts, data[begun:]]


def _marker(data: bytes, at: int) -> int:
    """Find the next marker in coded data; skips stuffed zeros and fill bytes."""
    while True:
        at = data.find(_FF, at)
        if at < 0:
            raise IndexError
        if data[at + 1] not in {0, _FF}:
            return at
        at += 1 if data[at + 1] == _FF else 2


def _pixels(data: bytes) -> NDArray[np.uint8]:
    from PIL.JpegImagePlugin import JpegImageFile

    with JpegImageFile(io.BytesIO(data)) as opened:
        return np.asarray(opened)
