"""What a JPEG stream says of itself: tables, sampling, and whether every scan is there.

By ISO/IEC 10918-1, B.2: markers are read one by one from SOI to EOI and nothing may follow. Comments and
application segments other than JFIF's and Adobe's are refused: they can hold what an exam must not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from bitdose.errors import BitdoseError

_SOI, _EOI, _SOS, _DQT, _DHT, _DRI = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
_APP0, _APP14 = 0xE0, 0xEE
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, all Huffman
_RESTARTS = range(0xD0, 0xD8)
_COEFFICIENTS = 64


class Component(NamedTuple):
    """One component: its sampling factors and its 64 quantisation steps in zigzag order."""

    horizontal: int
    vertical: int
    steps: tuple[int, ...]


class JpegStream(NamedTuple):
    """What the headers say: size in samples and the components."""

    height: int
    width: int
    components: tuple[Component, ...]


class _Frame(NamedTuple):
    height: int
    width: int
    parts: tuple[tuple[int, int, int, int], ...]  # identifier, sampling H and V, table


def read_jpeg_stream(data: bytes) -> JpegStream:
    """Read a stream's headers, and check that it is one whole image and nothing else.

    Parameters
    ----------
    data : bytes
        A JPEG stream of 8-bit samples.

    Raises
    ------
    BitdoseError
        If it is damaged, of another process, holds foreign segments or bytes after its end, or lacks
        scans: coefficients that were never sent are as lost as quantised ones.

    Examples
    --------
    >>> read_jpeg_stream(b"GIF89a")
    Traceback (most recent call last):
        ...
    bitdose.errors.BitdoseError: JPEG stream: it does not begin as one
    """
    try:
        return _read(data)
    except (struct.error, IndexError, KeyError):
        raise BitdoseError("JPEG stream: it is damaged") from None


def excess(given: JpegStream, allowed: JpegStream) -> str:
    """Say in what a stream is coarser than another that codes the same image; empty where it is not.

    Returns
    -------
    str
        A clause that goes on with ``of`` and the other's name.

    Raises
    ------
    BitdoseError
        If they differ in their number of components.
    """
    if len(given.components) != len(allowed.components):
        raise BitdoseError(f"JPEG stream: {len(given.components)} components")
    pairs = list(zip(given.components, allowed.components, strict=True))
    share = max(a / b for g, r in pairs for a, b in zip(g.steps, r.steps, strict=True))
    if share > 1:
        return f"its quantisation steps are up to {share:.2g} times those"
    if any(_fineness(given, index) < _fineness(allowed, index) for index in range(len(pairs))):
        return "its colour is sampled more coarsely than that"
    return ""


def _fineness(stream: JpegStream, index: int) -> tuple[float, float]:
    """Share of the largest sampling factors that a component has, down and across."""
    parts, part = stream.components, stream.components[index]
    highest, widest = max(p.vertical for p in parts), max(p.horizontal for p in parts)
    return part.vertical / highest, part.horizontal / widest


def _read(data: bytes) -> JpegStream:
    tables: dict[int, tuple[int, ...]] = {}
    frame: _Frame | None = None
    bits_left: dict[int, list[int | None]] = {}
    for marker, body in _segments(data):
        if marker == _DQT and frame is None:
            tables |= _tables(body)
        elif marker in _FRAMES and frame is None:
            frame = _frame(body)
            bits_left = {part[0]: [None] * _COEFFICIENTS for part in frame.parts}
        elif marker == _SOS and frame is not None:
            _scan(body, bits_left)
        elif marker not in (_DHT, _DRI):
            raise BitdoseError(f"JPEG stream: marker {marker:02x} has no place there")
    if frame is None or any(left != 0 for part in bits_left.values() for left in part):
        raise BitdoseError("JPEG stream: scans are missing")
    parts = tuple(Component(h, v, tables[table]) for _, h, v, table in frame.parts)
    return JpegStream(frame.height, frame.width, parts)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and body of each segment but SOI, EOI and the two application ones that are allowed."""
    if data[:2] != bytes((0xFF, _SOI)):
        raise BitdoseError("JPEG stream: it does not begin as one")
    at = 2
    while True:
        if data[at] != 0xFF:  # noqa: PLR2004
            raise BitdoseError("JPEG stream: bytes stand between its segments")
        marker = data[at + 1]
        if marker == _EOI:
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        at += 2 + length
        if not _is_allowed_application(marker, body):
            yield marker, body
        if marker == _SOS:
            at = _scan_end(data, at)
    if at + 2 != len(data):
        raise BitdoseError("JPEG stream: bytes are left after its end")


def _is_allowed_application(marker: int, body: bytes) -> bool:
    jfif = marker == _APP0 and body[:5] == b"JFIF\0" and len(body) == 14  # noqa: PLR2004  no thumbnail
    return jfif or (marker == _APP14 and body[:5] == b"Adobe" and len(body) == 12)  # noqa: PLR2004


def _scan_end(data: bytes, at: int) -> int:
    """Find the marker after entropy-coded data: not a stuffed zero, not a restart."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            raise BitdoseError("JPEG stream: it ends inside a scan")
        if data[at + 1] != 0 and data[at + 1] not in _RESTARTS:
            return at
        at += 2


def _tables(body: bytes) -> dict[int, tuple[int, ...]]:
    found, at = {}, 0
    while at < len(body):
        wide, name = body[at] >> 4, body[at] & 15
        kind = f">{_COEFFICIENTS}{'H' if wide else 'B'}"
        found[name] = struct.unpack_from(kind, body, at + 1)
        at += 1 + struct.calcsize(kind)
    return found


def _frame(body: bytes) -> _Frame:
    bits, height, width, count = struct.unpack_from(">BHHB", body)
    if bits != 8 or not height or not width or len(body) != 6 + 3 * count:  # noqa: PLR2004
        raise BitdoseError("JPEG stream: expected 8-bit samples and a size")
    parts = [struct.unpack_from("BBB", body, 6 + 3 * index) for index in range(count)]
    return _Frame(height, width, tuple((name, hv >> 4, hv & 15, table) for name, hv, table in parts))


def _scan(body: bytes, bits_left: dict[int, list[int | None]]) -> None:
    """Note which coefficients a scan brings, and to how many bits short of whole (progressive)."""
    count = body[0]
    names = [body[1 + 2 * index] for index in range(count)]
    first, last, precision = body[1 + 2 * count : 4 + 2 * count]
    for name in names:
        for index in range(first, last + 1):
            bits_left[name][index] = precision & 15
