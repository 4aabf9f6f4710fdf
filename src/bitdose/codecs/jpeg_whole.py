"""Does a JPEG stream hold all of its image? A decoder says nothing where coded data end early: it invents.

What it invents depends on what it finds there. So the stream is decoded as it is and with some bytes put in
behind its coded data, which no decoder of a whole image ever reads: where pixels differ, they were needed.
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
"""Behind a scan: where it ends at a restart, more is read only after the restart that is due."""


def check_whole(data: bytes) -> None:
    """Refuse a JPEG stream whose coded data end before its image does.

    Parameters
    ----------
    data : bytes
        A stream whose size was looked at: it is decoded twice.

    Raises
    ------
    BitdoseError
        If it is not whole. A damaged one may raise what its decoder raises.
    """
    if not np.array_equal(_pixels(data), _pixels(with_filler(data))):
        raise BitdoseError("JPEG stream: its coded data end before its image does")


def with_filler(data: bytes) -> bytes:
    """Return a stream with bytes put in before every marker that follows coded data, restarts included.

    Raises
    ------
    BitdoseError
        If its markers lead nowhere.
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
    """Find the next marker in coded data, where 255 is followed by 0, or by another 255 that fills."""
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
