"""Decoding of DICOM pixel data to arrays of stored samples, after a check of the counts.

Native and RLE frames are decoded by pydicom. All other coded frames go to imagecodecs,
not to pydicom's plugins: it covers every still-image syntax of the table below, releases the GIL,
prints nothing, and raises on a damaged stream where GDCM ends the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.data.streams import J2kHeader, JpegFrame, check_jpeg_end, j2k_header, jpeg_frame
from bitdose.errors import CaseError

J2K_SYNTAXES = tuple(f"1.2.840.10008.1.2.4.{last}" for last in (90, 91, 92, 93, 201, 202, 203))
_JPEG_SYNTAXES = tuple(f"1.2.840.10008.1.2.4.{last}" for last in (50, 51, 57, 70))
_JPEGLS_SYNTAXES = tuple(f"1.2.840.10008.1.2.4.{last}" for last in (80, 81))
_JPEG_MARKS = (b"JFIF\0", b"Adobe")
_RLE = "1.2.840.10008.1.2.5"
_STREAM_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51")
_BYTE_BITS = 8
_COLOUR_NDIM = 3
_RGB_SAMPLES = 3
_SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422")


def frame_shape(dataset: Any) -> tuple[int, int, int]:
    """Return rows, columns and frames as declared by the data set."""
    return int(dataset.Rows), int(dataset.Columns), _n_frames(dataset)


def decode_frames(dataset: Any) -> NDArray[Any]:
    """Decode all frames to stored samples: grey, palette indices or RGB.

    Returns
    -------
    numpy.ndarray
        ``(H, W)`` or ``(H, W, 3)`` for one frame, else with frames first.

    Raises
    ------
    CaseError
        ``wrong-frames`` or ``truncated`` where bytes and header disagree.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_transfer_syntax and not syntax.is_private and syntax.is_encapsulated:
        _check_fragments(dataset, str(syntax))
    else:
        _check_native(dataset, str(syntax))
    decode = _DECODERS.get(str(syntax))
    if decode is not None:
        return _by_imagecodecs(dataset, decode)
    if syntax.is_encapsulated and syntax != _RLE:
        raise CaseError("unsupported", f"unsupported transfer syntax {syntax}")
    if is_ybr(dataset) and int(dataset.BitsAllocated) != _BYTE_BITS:
        raise CaseError("unsupported", f"DICOM YBR of {dataset.BitsAllocated} bits; 8 are read")
    frames = dataset.pixel_array if syntax == _RLE else _native(dataset)
    _check_shape(frames, dataset)
    return frames


def first_frame(dataset: Any) -> bytes:
    """Return the first frame's coded bytes."""
    from pydicom.encaps import generate_frames

    return next(generate_frames(dataset.PixelData, number_of_frames=_n_frames(dataset)))


def _n_frames(dataset: Any) -> int:
    return int(dataset.get("NumberOfFrames") or 1)


def _check_native(dataset: Any, syntax: str) -> None:
    from pydicom.uid import UID

    if not UID(syntax).is_transfer_syntax or UID(syntax).is_private:
        raise CaseError("unsupported", f"unknown transfer syntax {syntax}")
    rows, columns, frames = frame_shape(dataset)
    n_samples = rows * columns * frames * int(dataset.SamplesPerPixel)
    if dataset.PhotometricInterpretation in _SUBSAMPLED:
        n_samples = n_samples * 2 // 3
    expected = -(-n_samples * int(dataset.BitsAllocated) // 8)
    found = len(dataset.PixelData)
    what = f"{rows}x{columns} in {frames} frames need {expected} bytes, the pixel data have {found}"
    if found < expected:
        raise CaseError("wrong-frames" if _whole_frames(found, expected, frames) else "truncated", what)
    if found >= expected + max(2, expected // frames):
        raise CaseError("wrong-frames", what)
    if found > expected + (expected & 1):
        # Less than a frame of something else: no pixels.
        dataset.PixelData = dataset.PixelData[: expected + (expected & 1)]


def _whole_frames(found: int, expected: int, frames: int) -> bool:
    return frames > 1 and found > 0 and found * frames % expected == 0


def _check_fragments(dataset: Any, syntax: str) -> None:
    """Compare the frame counts of fragments and offset table with the declared number."""
    from pydicom.encaps import generate_fragments, parse_basic_offsets
    from pydicom.filebase import DicomBytesIO

    buffer = DicomBytesIO(dataset.PixelData)
    buffer.is_little_endian = True
    offsets = parse_basic_offsets(buffer)
    fragments = list(generate_fragments(buffer))
    starts = sum(fragment.startswith(_STREAM_STARTS) for fragment in fragments)
    if syntax == _RLE:
        starts = len(fragments)
    announced, found = _n_frames(dataset), len(offsets) or max(starts, 1)
    if found != announced or len(fragments) < announced:
        count = min(found, len(fragments))
        raise CaseError("wrong-frames", f"{announced} frames declared, the pixel data have {count}")


def _native(dataset: Any) -> NDArray[Any]:
    """Decode native frames; stored bits are shifted down to the low end of their word."""
    stored = int(dataset.BitsStored)
    high_bit = int(dataset.get("HighBit", stored - 1))
    if stored <= high_bit < int(dataset.BitsAllocated):
        # pydicom clears all bits above Bits Stored, regardless of High Bit.
        dataset.BitsStored = high_bit + 1
        frames = dataset.pixel_array >> (high_bit + 1 - stored)
        dataset.BitsStored = stored
        return np.asarray(frames)
    return np.asarray(dataset.pixel_array)


def _by_imagecodecs(dataset: Any, decode: Callable[[bytes, Any], NDArray[Any]]) -> NDArray[Any]:
    from pydicom.encaps import generate_frames

    n_frames = _n_frames(dataset)
    streams = generate_frames(dataset.PixelData, number_of_frames=n_frames)
    frames = np.stack([decode(stream, dataset) for stream in streams])
    frames = frames[0] if n_frames == 1 else frames
    _check_shape(frames, dataset)
    return frames


def _check_frame_size(height: int, width: int, dataset: Any) -> None:
    """Compare a stream's header with the data set, before memory is allocated."""
    if (height, width) != (int(dataset.Rows), int(dataset.Columns)):
        raise CaseError("wrong-frames", f"a frame is {height}x{width}, the header declares another size")


def _check_jpeg(stream: bytes, dataset: Any) -> JpegFrame:
    frame = jpeg_frame(stream)
    _check_frame_size(frame.height, frame.width, dataset)
    check_jpeg_end(stream)
    return frame


def _decode_jpeg(stream: bytes, dataset: Any) -> NDArray[Any]:
    import imagecodecs

    frame = _check_jpeg(stream, dataset)
    if frame.lossless:
        # Lossless processes know no colour: the samples mean what the data set says.
        return _from_ybr(np.asarray(imagecodecs.ljpeg_decode(stream)), frame.bits, dataset)
    if dataset.PhotometricInterpretation == "RGB" and not any(mark in stream[:512] for mark in _JPEG_MARKS):
        # Without an Adobe marker libjpeg assumes that three components are YCbCr.
        return np.asarray(imagecodecs.jpeg8_decode(stream, colorspace="RGB", outcolorspace="RGB"))
    return np.asarray(imagecodecs.jpeg_decode(stream))


def _decode_jpegls(stream: bytes, dataset: Any) -> NDArray[Any]:
    import imagecodecs

    frame = _check_jpeg(stream, dataset)
    return _from_ybr(np.asarray(imagecodecs.jpegls_decode(stream)), frame.bits, dataset)


def _decode_j2k(stream: bytes, dataset: Any) -> NDArray[Any]:
    import imagecodecs

    header = j2k_header(stream)
    _check_frame_size(header.height, header.width, dataset)
    pixels: NDArray[Any] = imagecodecs.jpeg2k_decode(stream)
    if pixels.ndim == _COLOUR_NDIM:
        # A stream with a colour transform of its own has come back as RGB, whatever the data set says.
        return pixels if header.transformed else _from_ybr(pixels, header.bits[0], dataset)
    if dataset.PixelRepresentation and not header.signed[0]:
        # Some writers declare signed samples unsigned in the stream: restore the sign.
        spare = 32 - header.bits[0]
        pixels = (pixels.astype(np.int32) << spare) >> spare
    return _within_bits_stored(pixels, header, dataset)


def _within_bits_stored(pixels: NDArray[Any], header: J2kHeader, dataset: Any) -> NDArray[Any]:
    """Hold a stream of more bits than Bits Stored against them: the rounding of 9/7 is clipped, else refused.

    Cleared as in native pixel data, bits that do not fit would turn white into black.
    """
    bits = int(dataset.BitsStored)
    if header.bits[0] <= bits:
        return pixels
    least = -(1 << (bits - 1)) if dataset.PixelRepresentation else 0
    most = least + (1 << bits) - 1
    if int(pixels.min()) >= least and int(pixels.max()) <= most:
        return pixels
    if header.reversible:
        what = f"a JPEG 2000 stream of {header.bits[0]} bits holds samples above the {bits} of Bits Stored"
        raise CaseError("unsupported", what)
    return np.asarray(np.clip(pixels, least, most))


def _from_ybr(pixels: NDArray[Any], bits: int, dataset: Any) -> NDArray[Any]:
    """Bring decoded samples to RGB where the data set says that they are YBR."""
    if not is_ybr(dataset):
        return pixels
    if bits != _BYTE_BITS or pixels.shape[-1] != _RGB_SAMPLES:
        raise CaseError(
            "unsupported", f"DICOM {dataset.PhotometricInterpretation} of {bits} bits; 8 are read"
        )
    from pydicom.pixels.processing import convert_color_space

    return np.asarray(convert_color_space(pixels, "YBR_FULL", "RGB"))


def is_ybr(dataset: Any) -> bool:
    """Whether a data set says that its samples are YBR_FULL or YBR_FULL_422."""
    return str(dataset.PhotometricInterpretation).startswith("YBR_FULL")


def _check_shape(frames: NDArray[Any], dataset: Any) -> None:
    rows, columns, n_frames = frame_shape(dataset)
    n_samples = int(dataset.SamplesPerPixel)
    expected = (n_frames,) * (n_frames > 1) + (rows, columns) + (n_samples,) * (n_samples > 1)
    if frames.shape != expected:
        got = "x".join(str(side) for side in frames.shape)
        raise CaseError("wrong-frames", f"decoded to {got}, the header declares {expected}")


_DECODERS: dict[str, Callable[[bytes, Any], NDArray[Any]]] = {
    **dict.fromkeys(_JPEG_SYNTAXES, _decode_jpeg),
    **dict.fromkeys(_JPEGLS_SYNTAXES, _decode_jpegls),
    **dict.fromkeys(J2K_SYNTAXES, _decode_j2k),
}
