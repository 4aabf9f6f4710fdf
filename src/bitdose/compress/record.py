"""What coding one file gives, and what is known of it before."""

from __future__ import annotations

from typing import NamedTuple


class SourceFacts(NamedTuple):
    """What a profile may limit, in a study's words for it.

    Parameters
    ----------
    modality : str
        DICOM's, such as ``CR``; empty where the file names none.
    height, width : int
        Samples of one image, before any downsizing.
    bits : int
        Bits per sample as a study reads them: 8 at least.
    slices : int
        Frames; 1 for one image.
    photometric : str
        ``MONOCHROME2`` for all grey, ``RGB`` for all colour.
    """

    modality: str
    height: int
    width: int
    bits: int
    slices: int = 1
    photometric: str = "MONOCHROME2"


class Compressed(NamedTuple):
    """One file's outcome.

    Parameters
    ----------
    data : bytes
        The file to write.
    bytes_pixels : int
        Raw pixels of the original.
    bytes_coded : int
        All streams, without headers.
    """

    data: bytes
    bytes_pixels: int
    bytes_coded: int
