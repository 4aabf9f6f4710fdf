"""DICOM objects, from the file's bytes to displayed pixels.

1. The data set is parsed; files without preamble are read too.
2. Frames are decoded (``dicom_frames.py``), native or compressed.
3. Monochrome samples are rescaled, windowed and, for MONOCHROME1, inverted
   (``dicom_values.py``); palettes and YBR become RGB.
4. One frame is an image; several are a volume, in which colour becomes grey.

**Whether it is lossy**, by Lossy Image Compression (0028,2110) and the transfer syntax
(PS3.3 C.7.6.1.1.5, PS3.5 8.2): ``01`` or JPEG baseline and extended: yes. JPEG-LS
near-lossless, JPEG 2000 and HTJ2K with a lossy option: yes, unless the attribute is
``00`` and no 9/7 wavelet is found. ``00`` otherwise: no. No attribute and a lossless or
native syntax: unknown, since a decoded lossy image is stored in the same way.

No message and no log line of a library contains a value of the data set.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.data.decoded import Decoded, check_pixel_count
from bitdose.data.dicom_frames import J2K_SYNTAXES, decode_frames, first_frame, frame_shape
from bitdose.data.dicom_values import to_grey_image
from bitdose.data.streams import j2k_header
from bitdose.errors import CaseError
from bitdose.image import Image, container, rescale_bits, stack, to_grey

_PIXEL_DATA_TAG = b"\xe0\x7f\x10\0"
_PIXEL_DATA_TAG_BIG_ENDIAN = b"\x7f\xe0\0\x10"
_JPEG_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_MAY_BE_LOSSY = (
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.93",
    "1.2.840.10008.1.2.4.203",
)
_RGB_NDIM = 4
_RGB_SAMPLES = 3
_BYTE_BITS = 8
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")


def read_dicom(data: bytes, *, max_pixels: int) -> Decoded:
    """Decode a DICOM file from memory, by the rules at the top of this module.

    Parameters
    ----------
    data : bytes
        Contents of the file.
    max_pixels : int
        Limit of rows x columns x frames.

    Raises
    ------
    CaseError
        ``no-pixels``, ``wrong-frames``, ``truncated``, ``unsupported`` or ``too-large``; other errors
        are translated by the caller's :func:`~bitdose.data.guard.decoding`.
    """
    dataset = parse_dicom(data)
    check_pixel_data(dataset, data)
    check_pixel_count(frame_shape(dataset), max_pixels)
    frames = decode_frames(dataset)
    photometric = str(dataset.PhotometricInterpretation)
    if photometric in _MONOCHROME:
        image, steps = to_grey_image(frames, dataset)
    else:
        image, steps = _colour(frames, dataset, photometric)
    return Decoded(image, is_lossy(dataset), steps)


def parse_dicom(data: bytes) -> Any:
    """Parse a DICOM object, with or without a preamble; a missing transfer syntax is filled in.

    Spaces around Photometric Interpretation, which is padding by PS3.5 6.2, are taken off.
    """
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    bare = data[128:132] != b"DICM"
    dataset = pydicom.dcmread(BytesIO(data), force=bare)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    photometric = dataset.get("PhotometricInterpretation")
    if isinstance(photometric, str) and photometric != photometric.strip():
        dataset.PhotometricInterpretation = photometric.strip()
    return dataset


def check_pixel_data(dataset: Any, data: bytes) -> None:
    """Raise ``CaseError`` with the reason if an object has no supported pixel data."""
    if "PixelData" in dataset:
        return
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise CaseError(
            "unsupported", "DICOM floating-point pixel data; only integer pixel data are supported"
        )
    # The parser drops an element that is truncated by the end of the file.
    if _PIXEL_DATA_TAG in data or _PIXEL_DATA_TAG_BIG_ENDIAN in data:
        raise CaseError("truncated", "DICOM data end inside the pixel data")
    if not dataset or "SOPClassUID" not in dataset:
        raise CaseError("truncated", "DICOM data end before the image description")
    raise CaseError("no-pixels", "the DICOM object has no pixel data")


def _colour(frames: NDArray[Any], dataset: Any, photometric: str) -> tuple[Image, tuple[str, ...]]:
    """Convert palette or three-sample frames to one RGB image, or to a grey volume."""
    if photometric == "PALETTE COLOR":
        frames, bits = palette_to_rgb(frames, dataset)
        steps: tuple[str, ...] = ("palette>rgb",)
    else:
        bits = int(dataset.BitsStored)
        steps = () if photometric == "RGB" else (f"{photometric.lower()}>rgb",)
    frames = frames[None] if frames.ndim < _RGB_NDIM else frames
    if bits not in range(1, 17) or frames.shape[-1] != _RGB_SAMPLES:
        raise CaseError("unsupported", f"DICOM colour of {bits} bits, {frames.shape[-1]} samples")
    keep = (1 << bits) - 1
    images = [Image((frame & keep).astype(container(bits)), bits, "RGB") for frame in frames]
    if bits < _BYTE_BITS:
        images, steps = [rescale_bits(image, 8) for image in images], (*steps, f"{bits} bit>8")
    if len(images) == 1:
        return images[0], steps
    return stack([to_grey(image) for image in images], volume=True), (*steps, "rgb frames>grey volume")


def palette_to_rgb(frames: NDArray[Any], dataset: Any) -> tuple[NDArray[Any], int]:
    """Apply the palette; a 16-bit one with redundant low bytes becomes 8 bits."""
    from pydicom.pixels.processing import apply_color_lut

    rgb = apply_color_lut(frames, dataset)[..., :3]
    if rgb.dtype == np.uint8:
        return rgb, 8
    low, high = rgb & 0xFF, rgb >> 8
    if not low.any() or np.array_equal(low, high):
        return high.astype(np.uint8), 8
    return rgb, 16


def is_lossy(dataset: Any) -> bool | None:
    """Whether an object's pixels are or were lossily coded; None if unknown."""
    attribute = str(dataset.get("LossyImageCompression", "")).strip()
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if attribute == "01" or syntax in _JPEG_LOSSY:
        return True
    if syntax in _MAY_BE_LOSSY:
        return attribute != "00" or _has_lossy_wavelet(dataset, syntax)
    return False if attribute == "00" else None


def _has_lossy_wavelet(dataset: Any, syntax: str) -> bool:
    return syntax in J2K_SYNTAXES and j2k_header(first_frame(dataset)).lossy is True
