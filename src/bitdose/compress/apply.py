"""An operating point applied to the bytes of one file: raster to stream, DICOM to DICOM."""

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
    """Apply an operating point to one file.

    A raster's stream equals the output of :func:`bitdose.codecs.coding.encode_point`: the
    bytes that a study with ``exact`` measures. Orientation is applied, other metadata are dropped.

    Parameters
    ----------
    data : bytes
        Contents of the file, in any supported format.
    point : Point
        The operating point; not pristine.
    uids : Uids
        UID generator of the run; used by DICOM only.
    now : datetime
        Time of creation; used by DICOM only.
    check : callable, optional
        Called with the file's :class:`SourceFacts`; raises ``CaseError`` to reject it.
    max_pixels : int
        Limit of decoded pixels.

    Raises
    ------
    CaseError
        If the file cannot be read, does not fit into one stream, or ``check`` rejects it.
    """
    if sniff(data) == "DICOM":
        return compress_dicom(data, point, uids=uids, now=now, check=check, max_pixels=max_pixels)
    source = read_bytes(data, max_pixels=max_pixels)
    image = source.image
    if source.format == "NIFTI":
        raise CaseError(
            "unsupported", "NIfTI cannot hold coded slices; convert the volume to DICOM or to slices first"
        )
    if image.is_volume:
        raise CaseError(
            "unsupported", f"{source.format} of {image.n_slices} pages; one stream holds one image"
        )
    if check is not None:
        check(SourceFacts("", image.height, image.width, image.bits, 1, image.photometric))
    streams = encode_point(image, point)
    return Compressed(streams.data[0], image.raw_bytes, len(streams.data[0]))
