"""Detection of trailing bytes, which could be another file (a polyglot).

| format | end | reference |
| --- | --- | --- |
| PNG | the IEND chunk | ISO/IEC 15948, 11.2.5 |
| JPEG | the first EOI outside a scan | ISO/IEC 10918-1, B.2.1 |
| JPEG2000 | EOC of a raw codestream, the last box of a JP2 file | ISO/IEC 15444-1, A.4.4 and I.4 |
| BMP, WEBP | the size in their header | BITMAPFILEHEADER; RFC 9649, section 2 |
| DICOM | 128 zeros before ``DICM`` | PS3.10, 7.1: another preamble could start a second file |

TIFF and NIfTI define no end.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from bitdose.errors import BitdoseError

_PREAMBLE_BYTES = 128
_BOX_BYTES = 8
_STANDALONE = (0x01, *range(0xD0, 0xD8))


def check_end(format_name: str, data: bytes) -> None:
    """Reject a file with trailing bytes, or a truncated one.

    Parameters
    ----------
    format_name : str
        Format as returned by :func:`bitdose.data.sniff.sniff`.
    data : bytes
        Contents of the file.

    Raises
    ------
    BitdoseError
        If the file does not end at the end of its format.

    Examples
    --------
    >>> check_end("BMP", b"BM" + (6).to_bytes(4, "little") + b"PK")
    Traceback (most recent call last):
        ...
    bitdose.errors.BitdoseError: BMP: the file's end is not where its content ends
    """
    find = _ENDS.get(format_name)
    if find is None:
        return
    try:
        whole = find(data) == len(data)
    except (struct.error, IndexError):
        whole = False
    if not whole:
        raise BitdoseError(f"{format_name}: the file's end is not where its content ends")


def _png_end(data: bytes) -> int:
    at, name = _BOX_BYTES, b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        at += 12 + length
    return at


def _jpeg_end(data: bytes) -> int:
    at = 2
    while True:
        marker = data[at + 1] if data[at] == 0xFF else 0  # noqa: PLR2004
        if marker == 0xD9:  # noqa: PLR2004
            return at + 2
        if marker in {0, 0xFF} or marker in _STANDALONE:
            at += 2 if marker in _STANDALONE else 1  # coded data, fill bytes, restarts
            following = data.find(b"\xff", at)
            at = following if following >= 0 else len(data)
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])


def _jpeg2000_end(data: bytes) -> int:
    if data[:2] == b"\xff\x4f":
        return len(data) if data[-2:] == b"\xff\xd9" else -1
    at = 0
    while at < len(data):
        length, _ = struct.unpack_from(">I4s", data, at)
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + _BOX_BYTES)
        elif length == 0:
            return len(data)
        if length < _BOX_BYTES:
            return -1
        at += length
    return at


def _bmp_end(data: bytes) -> int:
    return int(struct.unpack_from("<I", data, 2)[0])


def _webp_end(data: bytes) -> int:
    return _BOX_BYTES + int(struct.unpack_from("<I", data, 4)[0])


def _dicom_end(data: bytes) -> int:
    bare = data[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] != b"DICM"
    return len(data) if bare or not any(data[:_PREAMBLE_BYTES]) else -1


_ENDS: dict[str, Callable[[bytes], int]] = {
    "PNG": _png_end,
    "JPEG": _jpeg_end,
    "JPEG2000": _jpeg2000_end,
    "BMP": _bmp_end,
    "WEBP": _webp_end,
    "DICOM": _dicom_end,
}
