"""Records of one file: its facts before coding, its outcome after."""

from __future__ import annotations

from typing import NamedTuple


class SourceFacts(NamedTuple):
    """Properties of a source that a profile can limit.

    Parameters
    ----------
    modality : str
        DICOM modality code, such as ``CR``; empty where the file states none.
    height, width : int
        Size of one image in pixels, before downsizing.
    bits : int
        Bits per sample as read by a study, at least 8.
    slices : int
        Number of frames; 1 for a single image.
    photometric : str
        ``MONOCHROME2`` for any greyscale, ``RGB`` for any colour image.
    """

    modality: str
    height: int
    width: int
    bits: int
    slices: int = 1
    photometric: str = "MONOCHROME2"


class Compressed(NamedTuple):
    """Outcome of one file.

    Parameters
    ----------
    data : bytes
        Contents of the file to write.
    bytes_pixels : int
        Raw pixel bytes of the original.
    bytes_coded : int
        Bytes of all streams, without headers.
    """

    data: bytes
    bytes_pixels: int
    bytes_coded: int
