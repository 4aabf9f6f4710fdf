"""JPEG 2000 streams of exactly Bits Stored from an encoder of 8 or 16 bits.

DICOM requires the stream's precision and sign to match Bits Stored and Pixel
Representation (PS3.5 8.2.4). The study's encoder writes 8 or 16 bits only, and another
encoder would give other bytes at the same point.

The irreversible path knows precision only as a scale. A quantiser's step is written
relative to the dynamic range, ``2**(R - e) * (1 + m / 2**11)`` with ``R`` the precision
(ISO/IEC 15444-1, E.1), and the level shift is half of that range (G.1). So a stream of
samples shifted up to fill ``c`` bits, ``x * 2**(c - n)``, becomes one of ``n`` bits when
its header says ``n``: each coefficient decodes smaller by ``2**(c - n)``, and so does the level
shift. The sign is as simple: without it the decoder adds half of the range, with it not.
No coded byte changes, and Modality LUT, windows and padding value stay as they were.
"""

from __future__ import annotations

import struct

_SIZ = b"\xff\x4f\xff\x51"
_COMPONENTS_AT = 40
_FIRST_COMPONENT_AT = 42
_COMPONENT_BYTES = 3
_SIGN = 0x80


def with_precision(stream: bytes, bits: int, *, signed: bool) -> bytes:
    """Write another precision and sign into a codestream's SIZ segment (ISO/IEC 15444-1, A.5.1).

    Parameters
    ----------
    stream : bytes
        An irreversible codestream of samples shifted up to fill 8 or 16 bits.
    bits : int
        Precision to write, 1 to 16 bits.
    signed : bool
        Whether the decoded samples are signed.

    Returns
    -------
    bytes
        The stream, with one changed byte per component.

    Raises
    ------
    ValueError
        If ``stream`` is not a raw codestream.
    """
    if stream[: len(_SIZ)] != _SIZ:
        raise ValueError("expected a JPEG 2000 codestream that begins with SOC and SIZ")
    (n_components,) = struct.unpack_from(">H", stream, _COMPONENTS_AT)
    changed = bytearray(stream)
    for component in range(n_components):
        changed[_FIRST_COMPONENT_AT + _COMPONENT_BYTES * component] = (bits - 1) | (_SIGN if signed else 0)
    return bytes(changed)
