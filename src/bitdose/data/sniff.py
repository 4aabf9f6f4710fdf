"""File formats, detected from the first bytes; extensions are ignored.

| format | sign | reference |
| --- | --- | --- |
| DICOM | ``DICM`` at 128, or an opening element of group 0002 or 0008 | PS3.10 section 7.1 |
| NIFTI | ``n+1`` at 344 or ``n+2`` at 4, also inside gzip | nifti.nimh.nih.gov |
| PNG | eight-byte signature | ISO/IEC 15948, 5.2 |
| JPEG | SOI and one more marker | ISO/IEC 10918-1, B.1.1.3 |
| JPEG2000 | JP2 signature box, or SOC and SIZ | ISO/IEC 15444-1, A.4 and I.5.1 |
| TIFF | byte order and 42 (43: BigTIFF) | TIFF 6.0, section 2 |
| WEBP | ``RIFF`` … ``WEBP`` | RFC 9649, section 2 |
| BMP | ``BM`` and a known header size | Microsoft, BITMAPFILEHEADER |
"""

from __future__ import annotations

import zlib

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", "DICOM"),
    (344, b"n+1\0", "NIFTI"),
    (4, b"n+2\0\r\n\x1a\n", "NIFTI"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (0, b"II\x2a\0", "TIFF"),
    (0, b"MM\0\x2a", "TIFF"),
    (0, b"II\x2b\0", "TIFF"),
    (0, b"MM\0\x2b", "TIFF"),
)
_BMP_HEADER_BYTES = (12, 16, 40, 52, 56, 64, 108, 124)
_HEAD_BYTES = 352
_ELEMENT_BYTES = 8
_OPENING_GROUPS = (b"\x02\0", b"\x08\0")
_OPENING_VRS = (b"UL", b"UI", b"OB", b"CS", b"DA", b"TM", b"SH", b"LO")
_LONGEST_OPENING = 0x100
_GZIP = b"\x1f\x8b"


def sniff(data: bytes) -> str | None:
    """Return the format of a file's contents, or None if unsupported.

    Examples
    --------
    >>> sniff(b"BM not a bitmap") is None
    True
    >>> sniff(bytes.fromhex("ffd8ffe0"))
    'JPEG'
    """
    if is_gzip(data):
        return "NIFTI" if sniff(_gunzipped_head(data)) == "NIFTI" else None
    for offset, sign, name in _SIGNATURES:
        if data[offset : offset + len(sign)] == sign:
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    return "DICOM" if _is_bare_dicom(data[:8]) else None


def is_gzip(data: bytes) -> bool:
    """Whether data are gzip-compressed."""
    return data[:2] == _GZIP


def inflate(data: bytes, n_bytes: int) -> bytes:
    """Return the first ``n_bytes`` bytes of gunzipped data, of one or several members; fewer at their end."""
    stream, parts, found = zlib.decompressobj(wbits=31), [], 0
    rest = data
    while rest and found < n_bytes:
        part = stream.decompress(rest, n_bytes - found)
        parts.append(part)
        found += len(part)
        # A gzip file may have several members.
        rest = stream.unused_data if stream.eof else stream.unconsumed_tail
        if stream.eof:
            stream = zlib.decompressobj(wbits=31)
    return b"".join(parts)


def _gunzipped_head(data: bytes) -> bytes:
    try:
        return inflate(data, _HEAD_BYTES)
    except zlib.error:
        return b""


def _is_bare_dicom(head: bytes) -> bool:
    """Whether a DICOM data set without preamble begins here (old or stripped files)."""
    if len(head) < _ELEMENT_BYTES or head[:2] not in _OPENING_GROUPS or head[3] != 0:
        return False
    return head[4:6] in _OPENING_VRS or int.from_bytes(head[4:], "little") <= _LONGEST_OPENING
