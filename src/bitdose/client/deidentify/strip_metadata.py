"""Removal of metadata from raster and NIfTI files: EXIF, comments, names, thumbnails.

- JPEG keeps its coded image, byte for byte: all APPn and COM segments are removed except JFIF, the colour
  transform (Adobe) and an EXIF orientation, which is written again without other tags.
- NIfTI keeps its layout: the header's free texts and all extensions are zeroed.
- Any other file is replaced by a PNG of the pixels that a classifier would receive.
"""

from __future__ import annotations

import gzip
import struct
from typing import Any

from bitdose.data.base import Source
from bitdose.data.guard import decoding
from bitdose.data.sniff import is_gzip
from bitdose.errors import CaseError

_SOS, _EOI = 0xDA, 0xD9
_APP0, _APP1, _APP14, _APP15, _COM = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_ORIENTATION = 0x0112
_UPRIGHT = 1
_DEPTHS = (8, 16)
# Byte ranges of free text: data_type, db_name; descrip, aux_file; intent_name (nifti1.h, nifti2.h).
_TEXTS = {348: ((4, 32), (148, 252), (328, 344)), 540: ((240, 344), (508, 524))}


def stripped(data: bytes, source: Source) -> bytes:
    """Return a file with the same pixels and no metadata.

    Parameters
    ----------
    data : bytes
        Contents of the file; not DICOM.
    source : Source
        The file as read.

    Raises
    ------
    CaseError
        ``unsupported`` where a single-image file cannot store the pixels.
    """
    if source.format == "JPEG":
        return _jpeg(data)
    if source.format == "NIFTI":
        return _nifti(data)
    image = source.image
    if image.is_volume or image.bits not in _DEPTHS:
        kind = f"{image.n_slices} pages" if image.is_volume else f"{image.bits} bits"
        raise CaseError("unsupported", f"{source.format} of {kind} has no form without its metadata")
    return _png(image.pixels)


def _png(pixels: Any) -> bytes:
    import cv2

    made, data = cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)  # noqa: PLR2004
    if not made:
        raise CaseError("codec-limit", "OpenCV cannot write these pixels as PNG")
    return bytes(data)


def _jpeg(data: bytes) -> bytes:
    """Copy the required segments, and all data from the first scan to the end of the image."""
    kept, at = [data[:2], *_orientation_segment(data)], 2
    while at + 4 <= len(data) and data[at] == 0xFF:  # noqa: PLR2004  a marker's first byte
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SOS:
            return b"".join([*kept, _scans(data[at:])])
        named = data[at + 4 : at + 4 + length]
        needed = (marker == _APP0 and named.startswith(b"JFIF\0")) or (
            marker == _APP14 and named.startswith(b"Adobe")
        )
        if needed or not (_APP0 <= marker <= _APP15 or marker == _COM):
            kept.append(
                _bare_jfif(data[at : at + 2 + length]) if marker == _APP0 else data[at : at + 2 + length]
            )
        at += 2 + length
    raise CaseError("unreadable", "the JPEG's segments contain no image")


def _scans(data: bytes) -> bytes:
    """Return the image's data up to its end, without comments between scans and trailing bytes."""
    out, at = bytearray(), 0
    while at < len(data):
        mark = data.find(b"\xff", at)
        while mark != -1 and mark + 1 < len(data) and data[mark + 1] in (0x00, 0xFF, *range(0xD0, 0xD8)):
            mark = data.find(b"\xff", mark + (1 if data[mark + 1] == 0xFF else 2))  # noqa: PLR2004
        if mark == -1 or mark + 1 >= len(data):
            break
        out += data[at:mark]
        if data[mark + 1] == _EOI:
            return bytes(out) + b"\xff\xd9"
        length = 2 + int.from_bytes(data[mark + 2 : mark + 4], "big")
        if not (_APP0 <= data[mark + 1] <= _APP15 or data[mark + 1] == _COM):
            out += data[mark : mark + length]
        at = mark + length
    return bytes(out) + data[at:] + b"\xff\xd9"


def _bare_jfif(segment: bytes) -> bytes:
    """Return a JFIF segment without its thumbnail."""
    return segment[:2] + b"\0\x10" + segment[4:16] + b"\0\0"


def _orientation_segment(data: bytes) -> list[bytes]:
    from io import BytesIO

    from PIL import JpegImagePlugin

    with decoding("JPEG"):
        turned = int(JpegImagePlugin.JpegImageFile(BytesIO(data)).getexif().get(_ORIENTATION, _UPRIGHT))
    if turned == _UPRIGHT or not 1 <= turned <= 8:  # noqa: PLR2004  EXIF knows eight
        return []
    entry = struct.pack(">HHIHH", _ORIENTATION, 3, 1, turned, 0)
    body = b"Exif\0\0MM\0\x2a" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    return [bytes([0xFF, _APP1]) + struct.pack(">H", len(body) + 2) + body]


def _nifti(data: bytes) -> bytes:
    packed = is_gzip(data)
    with decoding("NIFTI"):
        raw = bytearray(gzip.decompress(data) if packed else data)
        order: Any = "little" if int.from_bytes(raw[:4], "little") in _TEXTS else "big"
        head = int.from_bytes(raw[:4], order)
        offset = struct.unpack_from("<f" if order == "little" else ">f", raw, 108)[0]
        if head != 348:  # noqa: PLR2004  NIfTI-2 holds the offset as a whole number
            offset = int.from_bytes(raw[168:176], order)
        for start, end in _TEXTS[head]:
            raw[start:end] = bytes(end - start)
        if int(offset) > head:
            raw[head : int(offset)] = bytes(int(offset) - head)
    return gzip.compress(bytes(raw), mtime=0) if packed else bytes(raw)
