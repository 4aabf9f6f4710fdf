"""Which transfer syntax holds a point's streams: what its codec says of itself."""

from __future__ import annotations

from bitdose.codecs.base import CODECS, DicomCodec, DicomSyntax
from bitdose.codecs.point import Point
from bitdose.errors import BitdoseError, UsageError

SOURCE_METHODS: dict[str, str] = {
    **{f"1.2.840.10008.1.2.4.{last}": "ISO_10918_1" for last in (50, 51)},
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.93": "ISO_15444_2",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
"""Lossy Image Compression Method of each lossy transfer syntax."""


def syntax_of(point: Point) -> DicomSyntax:
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
    codec = point.build_codec()
    if not isinstance(codec, DicomCodec):
        raise UsageError(
            f"point '{point}': no DICOM transfer syntax is known for codec {point.codec!r}; "
            f"known for {', '.join(syntaxes())}"
        )
    wrong = [option for option in point.options if option in codec.dicom.refused]
    if wrong:
        raise UsageError(
            f"point '{point}': DICOM has no transfer syntax for '{wrong[0]}'; leave out '+{wrong[0]}'"
        )
    return codec.dicom


def syntaxes() -> dict[str, DicomSyntax]:
    """Return the transfer syntax of every codec here that has one, by the codec's name.

    Examples
    --------
    >>> {name: syntax.uid for name, syntax in syntaxes().items() if name == "jpeg"}
    {'jpeg': '1.2.840.10008.1.2.4.50'}
    """
    found = {}
    for name in CODECS.names():
        try:
            syntax = getattr(CODECS.get(name), "dicom", None)
        except BitdoseError:
            continue  # listed, but its package does not load
        if syntax is not None:
            found[name] = syntax
    return found
