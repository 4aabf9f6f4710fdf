"""A point applied to the bytes of one file: a raster becomes a stream, DICOM becomes DICOM."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from bitdose.codecs.coding import encode_point
from bitdose.codecs.point import Point
from bitdose.compress.dicom import Uids, compress_dicom
from bitdose.compress.record import Compressed, SourceFacts
from bitdose.data.decoded import MAX_PIXELS
from bitdose.data.read import read_bytes
from bitdose.data.sniff import sniff
from bitdose.errors import CaseError

Check = Callable[[SourceFacts], None]


def compress_bytes(
    data: bytes,
    point: Point,
    *,
    uids: Uids,
    now: datetime,
    check: Check | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Compressed:
    """Apply a point to one file.

    A raster's stream is exactly what :func:`bitdose.codecs.coding.encode_point` gives: the
    bytes that a study with ``exact`` measures. Orientation is applied, other metadata are not kept.

    Parameters
    ----------
    data : bytes
        The whole file, of any format that is read.
    point : Point
        What to apply; not pristine.
    uids : Uids
        Of this run; used by DICOM only.
    now : datetime
        Used by DICOM only.
    check : callable, optional
        Refuses a file by its facts, by raising ``CaseError``.
    max_pixels : int
        Largest number of pixels that is decoded.

    Raises
    ------
    CaseError
        The file cannot be read, or one stream cannot hold it.
    """
    if sniff(data) == "DICOM":
        return compress_dicom(data, point, uids=uids, now=now, check=check, max_pixels=max_pixels)
    source = read_bytes(data, max_pixels=max_pixels)
    image = source.image
    if source.format == "NIFTI":
        raise CaseError(
            "unsupported", "a NIfTI volume has no form for coded slices; write DICOM or slices first"
        )
    if image.is_volume:
        raise CaseError(
            "unsupported", f"{source.format} of {image.n_slices} pages; one stream holds one image"
        )
    if check is not None:
        check(SourceFacts("", image.height, image.width, image.bits, 1, image.photometric))
    streams = encode_point(image, point)
    return Compressed(streams.data[0], image.raw_bytes, len(streams.data[0]))
