"""Conversion of a DICOM object's stored samples to codec input, one image per frame.

**Stored values are coded, not displayed ones.** A study gives its classifier the
windowed image; the transmitted object must keep the whole range so that a reader can
window it again.

- A codec that keeps the depth (JPEG 2000): the samples keep Bits Stored and sign. They are shifted up to
  fill 8 or 16 bits, and the codec has the stream say their true depth.
- Any other (JPEG): what is not unsigned 8 bits is mapped linearly, the whole range of Bits Stored
  onto 0..255. :attr:`Samples.scale` and :attr:`Samples.offset` lead back.
- Palettes and YBR become RGB: a lossy index is another colour (PS3.5 8.2.1, 8.2.4 list no PALETTE
  COLOR). Colour deeper than 8 bits is mapped to 8 where the depth is not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bitdose.codecs.base import DicomSyntax
from bitdose.data.dicom import palette_to_rgb
from bitdose.errors import CaseError
from bitdose.image import Image, container, rescale_bits

_BYTE = 8
_WORD = 16
_RGB = 3


@dataclass(frozen=True)
class Samples:
    """Codec input of a DICOM object, with the meaning of its samples.

    Parameters
    ----------
    frames : tuple of Image
        One image per frame.
    bits : int
        Bits Stored of the new object.
    signed : bool
        Pixel Representation of the new object.
    scale, offset : float
        The old stored value is ``new * scale + offset``; 1 and 0 where nothing was mapped.
    """

    frames: tuple[Image, ...]
    bits: int
    signed: bool = False
    scale: float = 1.0
    offset: float = 0.0

    @property
    def is_colour(self) -> bool:
        """Whether the frames are RGB."""
        return self.frames[0].photometric == "RGB"

    @property
    def is_mapped(self) -> bool:
        """Whether the stored values were rescaled."""
        return (self.scale, self.offset) != (1.0, 0.0)

    def finish(self, stream: bytes, syntax: DicomSyntax) -> bytes:
        """Have a frame's stream say the true depth, where its format can."""
        if syntax.with_depth is None or (self.bits in (_BYTE, _WORD) and not self.signed):
            return stream
        return bytes(syntax.with_depth(stream, self.bits, signed=self.signed))


def stored_samples(frames: NDArray[Any], dataset: Any, syntax: DicomSyntax) -> Samples:
    """Prepare decoded frames for a codec, as defined at the top of this module.

    Parameters
    ----------
    frames : numpy.ndarray
        Output of :func:`bitdose.data.dicom_frames.decode_frames`.
    dataset : pydicom.Dataset
        The attributes of the source.
    syntax : DicomSyntax
        Where the streams will stand.

    Raises
    ------
    CaseError
        ``unsupported`` for one-bit samples and for more than 16 bits.
    """
    photometric = str(dataset.PhotometricInterpretation)
    bits = int(dataset.BitsStored)
    if photometric == "PALETTE COLOR":
        frames, bits = palette_to_rgb(frames, dataset)
        return _colour(frames, bits, syntax)
    if not 2 <= bits <= _WORD:  # noqa: PLR2004
        raise CaseError("unsupported", f"lossy coding of {bits}-bit samples; 2 to 16 bits are coded")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        return _colour(frames, bits, syntax)
    signed = bool(dataset.get("PixelRepresentation", 0))
    stacked = frames[None] if int(dataset.get("NumberOfFrames") or 1) == 1 else frames
    return _grey(_from_zero(stacked, bits, signed=signed), bits, syntax, signed=signed)


def _from_zero(frames: NDArray[Any], bits: int, *, signed: bool) -> NDArray[Any]:
    """Clear the bits above Bits Stored and move the smallest value that they can hold to 0."""
    native = frames.astype(
        frames.dtype.newbyteorder("="), copy=False
    )  # the reader does not swap big-endian samples
    unsigned = native.view(f"u{native.dtype.itemsize}")
    clean: NDArray[Any] = unsigned & unsigned.dtype.type((1 << bits) - 1)
    return clean ^ clean.dtype.type(1 << (bits - 1)) if signed else clean


def _grey(frames: NDArray[Any], bits: int, syntax: DicomSyntax, *, signed: bool) -> Samples:
    kind = container(bits)
    images = [Image(frame.astype(kind), bits) for frame in frames]
    low = -(1 << (bits - 1)) if signed else 0
    if syntax.keeps_depth:
        return Samples(tuple(map(_filled, images)), bits, signed)
    if bits == _BYTE and not signed:
        return Samples(tuple(images), _BYTE)
    scale = ((1 << bits) - 1) / 255
    return Samples(tuple(rescale_bits(image, _BYTE) for image in images), _BYTE, scale=scale, offset=low)


def _filled(image: Image) -> Image:
    full = 8 * image.pixels.dtype.itemsize
    return Image(image.pixels << (full - image.bits), full, image.photometric)


def _colour(frames: NDArray[Any], bits: int, syntax: DicomSyntax) -> Samples:
    stacked = frames[None] if frames.ndim == _RGB else frames
    if stacked.shape[-1] != _RGB:
        raise CaseError("unsupported", f"DICOM colour of {stacked.shape[-1]} samples per pixel; 3 are coded")
    keep = (1 << bits) - 1
    images = [Image((frame & keep).astype(container(bits)), bits, "RGB") for frame in stacked]
    if syntax.keeps_depth:
        return Samples(tuple(map(_filled, images)), bits)
    return Samples(tuple(rescale_bits(image, _BYTE) for image in images), _BYTE)
