"""Was a stream compressed harder than the profile's point? As far as the stream itself can tell.

- **JPEG**: no quantisation step may be larger than that of the point's quality, no component sampled more
  coarsely, no scan missing, no coded data ended before the image. What was lost before it was coded, as
  by an earlier harder coding, does not show.
- **JPEG 2000 by ratio**: the stream must be about as long as the ratio gives. A simple image needs less:
  then its decoded image, coded again at the profile's ratio, must not get longer either. A stream that was
  cut harder does, as more of it would have fitted.
- **JPEG 2000 by PSNR**: needs the original; only the point that the sender states can be held against the
  profile, and the sentinel sees what that leaves open.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bitdose.codecs.point import Point
from bitdose.data.guard import decoding
from bitdose.errors import BitdoseError
from bitdose.image import Image, container
from bitdose.service.exams.j2k_stream import read_j2k_stream
from bitdose.service.exams.jpeg_stream import JpegStream, read_jpeg_stream
from bitdose.service.exams.jpeg_whole import check_whole

_SHORTEST = 0.9  # OpenJPEG stops at a coding pass: 0.92 of the bytes was the least seen for a full stream
_LONGER = 1.1  # the same image coded again came out at most 1.07 as long, one cut by 1.25 from 1.12
_PROBE_SIDE = 16
_RGB = 3
_BYTE_BITS = 8


class Header(NamedTuple):
    """What a stream holds: samples, components, bits."""

    height: int
    width: int
    components: int
    bits: int


class HeaderRule(NamedTuple):
    """How one codec's streams are looked at: header first, then strength, then whether all of it is there."""

    header: Callable[[bytes], Header]
    too_strong: Callable[[bytes, Point], str]
    check_whole: Callable[[bytes], None] = lambda _data: None


def jpeg_header(data: bytes) -> Header:
    """Read a JPEG stream's header; raises ``BitdoseError`` unless it is one whole image and nothing else."""
    found = read_jpeg_stream(data)
    return Header(found.height, found.width, len(found.components), _BYTE_BITS)


def j2k_header(data: bytes) -> Header:
    """Read a JPEG 2000 stream's header; raises ``BitdoseError`` as :func:`jpeg_header` does."""
    return Header(*read_j2k_stream(data))


def jpeg_too_strong(data: bytes, point: Point) -> str:
    """Say why a JPEG stream is stronger than a point; empty where it is not.

    Examples
    --------
    >>> image = Image(np.zeros((16, 16), np.uint8))
    >>> stream = Point.parse("jpeg:q20").build_codec().encode(image)
    >>> jpeg_too_strong(stream, Point.parse("jpeg:q30"))
    'its quantisation steps are up to 1.6 times those of jpeg:q30'
    >>> jpeg_too_strong(stream, Point.parse("jpeg:q20"))
    ''
    """
    given = read_jpeg_stream(data)
    allowed = _jpeg_reference(str(point), len(given.components))
    pairs = list(zip(given.components, allowed.components, strict=True))
    share = max(a / b for g, r in pairs for a, b in zip(g.steps, r.steps, strict=True))
    if share > 1:
        return f"its quantisation steps are up to {share:.2g} times those of {point}"
    if any(_fineness(given, index) < _fineness(allowed, index) for index in range(len(pairs))):
        return f"its colour is sampled more coarsely than that of {point}"
    return ""


def _fineness(stream: JpegStream, index: int) -> tuple[float, float]:
    """Share of the largest sampling factors that a component has, down and across."""
    parts, part = stream.components, stream.components[index]
    highest, widest = max(p.vertical for p in parts), max(p.horizontal for p in parts)
    return part.vertical / highest, part.horizontal / widest


def j2k_too_strong(data: bytes, point: Point) -> str:
    """Say why a JPEG 2000 stream is stronger than a point; empty where it is not, or that cannot be told."""
    if point.unit != "x" or point.quality is None:
        return ""
    header = read_j2k_stream(data)
    raw_bytes = header.height * header.width * header.components * (header.bits + 7) // 8
    if len(data) >= _SHORTEST * raw_bytes / point.quality:
        return ""
    codec = point.build_codec()
    with decoding("JPEG 2000"):
        again = codec.encode(codec.decode(data))
    if len(again) <= _LONGER * len(data):
        return ""
    return f"its ratio is {raw_bytes / len(data):.3g}:1, and that of {point} {point.quality:g}:1"


@lru_cache(maxsize=16)
def _jpeg_reference(point: str, components: int) -> JpegStream:
    """Read the tables that the point's own codec writes."""
    shape = (_PROBE_SIDE, _PROBE_SIDE, _RGB) if components == _RGB else (_PROBE_SIDE, _PROBE_SIDE)
    probe = Image(np.zeros(shape, container(8)), 8, "RGB" if components == _RGB else "MONOCHROME2")
    return read_jpeg_stream(Point.parse(point).build_codec().encode(probe))


RULES = {
    "jpeg": HeaderRule(jpeg_header, jpeg_too_strong, check_whole),
    "jpeg2000": HeaderRule(j2k_header, j2k_too_strong),
}
"""Every codec whose streams can be looked at."""


def rule_of(codec: str) -> HeaderRule:
    """Return how a codec's streams are looked at; raises ``BitdoseError`` where nobody knows."""
    if codec not in RULES:
        raise BitdoseError(f"codec {codec}: the service cannot tell how strongly its streams are compressed")
    return RULES[codec]
