"""DICOM transfer syntax and attributes of each codec's streams.

| codec | transfer syntax, 1.2.840.10008.1.2.4 | method (0028,2114) | citation |
| --- | --- | --- | --- |
| ``jpeg`` | .50, JPEG Baseline (Process 1), 8 bits | ISO_10918_1 | PS3.5 8.2.1, A.4.1 |
| ``jpeg2000`` | .91, JPEG 2000, 1 to 16 bits | ISO_15444_1 | PS3.5 8.2.4, A.4.4 |

``jpeg2000`` always writes the irreversible 9/7 wavelet, so .90 (lossless only) never applies.
A progressive stream is not process 1, and the syntaxes that held it are retired (PS3.5
section 10): it is refused.

**Photometric interpretation of colour.** The baseline stream holds YCbCr with its chroma halved. PS3.3
C.7.6.3.1.2 has no value for 4:2:0; ``YBR_FULL_422`` is the value for lossy syntaxes other than
JPEG 2000 (C.8.12.4.1.5 says so), and validators refuse ``YBR_FULL``. JPEG 2000 with the
irreversible component transform is ``YBR_ICT``. Grey keeps ``MONOCHROME1`` or ``MONOCHROME2``.
"""

from __future__ import annotations

from typing import NamedTuple

from bitdose.codecs.point import Point
from bitdose.errors import UsageError


class Syntax(NamedTuple):
    """Encapsulation of one codec's streams in a DICOM object.

    Parameters
    ----------
    uid : str
        Transfer Syntax UID.
    method : str
        Lossy Image Compression Method (0028,2114), PS3.3 C.7.6.1.1.5.1.
    colour : str
        Photometric Interpretation of three components.
    keeps_depth : bool
        Whether streams preserve Bits Stored and sign; if not, samples become 8 bits,
        unsigned.
    refused : tuple of str
        Codec options that the transfer syntax forbids.
    """

    uid: str
    method: str
    colour: str
    keeps_depth: bool
    refused: tuple[str, ...] = ()


SYNTAXES: dict[str, Syntax] = {
    "jpeg": Syntax(
        "1.2.840.10008.1.2.4.50", "ISO_10918_1", "YBR_FULL_422", keeps_depth=False, refused=("progressive",)
    ),
    "jpeg2000": Syntax("1.2.840.10008.1.2.4.91", "ISO_15444_1", "YBR_ICT", keeps_depth=True),
}

SOURCE_METHODS: dict[str, str] = {
    **{f"1.2.840.10008.1.2.4.{last}": "ISO_10918_1" for last in (50, 51)},
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.93": "ISO_15444_2",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
"""Lossy Image Compression Method of each lossy transfer syntax."""


def syntax_of(point: Point) -> Syntax:
    """Return the transfer syntax of a point's streams.

    Raises
    ------
    UsageError
        If DICOM defines none, or none that allows the point's options.

    Examples
    --------
    >>> syntax_of(Point.parse("jpeg2000:20x")).method
    'ISO_15444_1'
    """
    syntax = SYNTAXES.get(point.codec)
    if syntax is None:
        raise UsageError(
            f"point '{point}': no DICOM transfer syntax is known for codec {point.codec!r}; "
            f"known for {', '.join(SYNTAXES)}"
        )
    wrong = [option for option in point.options if option in syntax.refused]
    if wrong:
        raise UsageError(
            f"point '{point}': DICOM has no transfer syntax for '{wrong[0]}'; leave out '+{wrong[0]}'"
        )
    return syntax
