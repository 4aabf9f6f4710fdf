"""Pixels with their bit depth and photometric meaning, checked on entry.

The contract that data, codecs and models share:

- ``pixels`` is a C-contiguous numpy array of ``uint8`` or ``uint16``: one image
  ``(H, W)`` or ``(H, W, 3)``, or a volume ``(L, H, W)`` of grey slices;
- ``bits`` is the number of bits in use, 1 to 8 for ``uint8`` and 9 to 16 for ``uint16``;
  no sample exceeds ``2**bits - 1``;
- ``photometric`` uses DICOM's words: ``MONOCHROME2`` (0 is black) or ``RGB``. Readers
  bring every other meaning (palette, MONOCHROME1, YBR, CMYK, alpha) to one of these two;
- two images are equal when pixels, bits and photometric meaning are.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitdose.errors import CaseError, UsageError

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Photometric = Literal["MONOCHROME2", "RGB"]

_BITS_OF_BYTE = 8
_BITS_OF_WORD = 16
_IMAGE_NDIM = 2
_STACK_NDIM = 3
_RGB_SAMPLES = 3


def container(bits: int) -> type[np.uint8 | np.uint16]:
    """Return the dtype that holds samples of ``bits`` bits."""
    return np.uint8 if bits <= _BITS_OF_BYTE else np.uint16


@dataclass(frozen=True, eq=False)
class Image:
    """One image or volume as the codecs and classifiers see it.

    Parameters
    ----------
    pixels : numpy.ndarray
        ``(H, W)``, ``(H, W, 3)`` or ``(L, H, W)``; ``uint8`` or ``uint16``.
    bits : int
        Bits in use per sample, 1 to 16; must agree with the dtype.
    photometric : {"MONOCHROME2", "RGB"}
        ``RGB`` goes with ``(H, W, 3)``; everything else is ``MONOCHROME2``.

    Raises
    ------
    CaseError
        If shape, dtype, bits or values break the contract at the top of this file.

    Examples
    --------
    >>> import numpy as np
    >>> image = Image(np.zeros((4, 6), np.uint8))
    >>> image.height, image.width, image.is_volume, image.raw_bytes
    (4, 6, False, 24)
    """

    pixels: Any
    bits: int = 8
    photometric: Photometric = "MONOCHROME2"

    def __post_init__(self) -> None:
        """Check the contract."""
        pixels = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype not in (np.uint8, np.uint16):
            kind = getattr(pixels, "dtype", type(pixels).__name__)
            raise CaseError("bad-pixels", f"expected uint8 or uint16 pixels, got {kind}")
        if not 1 <= self.bits <= _BITS_OF_WORD or pixels.dtype != container(self.bits):
            raise CaseError("bad-pixels", f"{self.bits} bits do not go with {pixels.dtype}")
        _check_shape(pixels.shape, self.photometric)
        # A full container cannot overflow; only narrower depths need the pass over the data.
        if self.bits not in (_BITS_OF_BYTE, _BITS_OF_WORD) and int(pixels.max()) > self.max_value:
            raise CaseError("bad-pixels", f"samples exceed {self.bits} bits")
        object.__setattr__(self, "pixels", np.ascontiguousarray(pixels))

    @classmethod
    def from_array(
        cls, array: ArrayLike, *, bits: int | None = None, photometric: Photometric | None = None
    ) -> Image:
        """Take an array of pixels as an image; they are neither scaled nor turned.

        Parameters
        ----------
        array : array_like
            ``(H, W)`` grey, ``(H, W, 3)`` RGB or ``(L, H, W)`` slices of grey, of unsigned integers of 8 or
            16 bits; 0 is black.
        bits : int, optional
            Bits in use per sample, such as 12 for ``uint16`` of 0 to 4095; all 8 or 16 where it is left out.
        photometric : {"MONOCHROME2", "RGB"}, optional
            Told by the shape where it is left out: three samples at the end are a colour.

        Raises
        ------
        UsageError
            If the array has no such type or shape, or holds samples of more bits.

        Examples
        --------
        >>> Image.from_array([[0.5]])
        Traceback (most recent call last):
            ...
        bitdose.errors.UsageError: array: expected uint8 or uint16, got float64; scale to 0..255 or 0..65535
        """
        if isinstance(array, (str, bytes, os.PathLike)):
            raise UsageError(f"array: expected pixels, got {type(array).__name__}; read a file first")
        pixels = np.asarray(array)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        if pixels.dtype not in (np.uint8, np.uint16):
            raise UsageError(
                f"array: expected uint8 or uint16, got {pixels.dtype}; scale to 0..255 or 0..65535"
            )
        if photometric is None:
            colour = pixels.ndim == _STACK_NDIM and pixels.shape[-1] == _RGB_SAMPLES
            photometric = "RGB" if colour else "MONOCHROME2"
        try:
            return cls(pixels, 8 * pixels.itemsize if bits is None else bits, photometric)
        except CaseError as error:
            raise UsageError(f"array: {error.reason}") from error

    def __eq__(self, other: object) -> bool:
        """Compare pixels, bits and meaning."""
        if not isinstance(other, Image):
            return NotImplemented
        same_kind = (self.bits, self.photometric) == (other.bits, other.photometric)
        return same_kind and np.array_equal(self.pixels, other.pixels)

    __hash__ = None  # type: ignore[assignment]

    @property
    def is_volume(self) -> bool:
        """Whether the pixels are a stack of slices ``(L, H, W)``."""
        return bool(self.pixels.ndim == _STACK_NDIM and self.photometric == "MONOCHROME2")

    @property
    def height(self) -> int:
        """Rows of the image or of one slice."""
        return int(self.pixels.shape[1] if self.is_volume else self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of the image or of one slice."""
        return int(self.pixels.shape[2] if self.is_volume else self.pixels.shape[1])

    @property
    def n_slices(self) -> int:
        """Slices of a volume; 1 for an image."""
        return int(self.pixels.shape[0]) if self.is_volume else 1

    @property
    def max_value(self) -> int:
        """Largest sample that ``bits`` can hold."""
        return int((1 << self.bits) - 1)

    @property
    def raw_bytes(self) -> int:
        """Bytes of the uncompressed pixels in their container (DICOM's basis for a ratio)."""
        return int(self.pixels.nbytes)

    def slices(self) -> list[Image]:
        """Return the slices of a volume, or the image itself in a list."""
        if not self.is_volume:
            return [self]
        return [Image(plane, self.bits, self.photometric) for plane in self.pixels]

    def with_pixels(self, pixels: NDArray[Any]) -> Image:
        """Return the same kind of image with other pixels."""
        return Image(pixels, self.bits, self.photometric)


def stack(slices: list[Image], *, volume: bool) -> Image:
    """Put slices together again: the inverse of :meth:`Image.slices`."""
    if not volume:
        return slices[0]
    return slices[0].with_pixels(np.stack([plane.pixels for plane in slices]))


def to_grey(image: Image) -> Image:
    """Bring RGB to grey by ITU-R BT.601 luma, rounded as Pillow's ``convert("L")`` does.

    Raises nothing; a grey image comes back as it is.

    Examples
    --------
    >>> import numpy as np
    >>> red = Image(np.full((1, 1, 3), (255, 0, 0), np.uint8), 8, "RGB")
    >>> int(to_grey(red).pixels[0, 0])
    76
    """
    if image.photometric != "RGB":
        return image
    weights = np.array([19595, 38470, 7471], np.uint64)
    luma = (image.pixels.astype(np.uint64) @ weights + 0x8000) >> np.uint64(16)
    return Image(luma.astype(image.pixels.dtype), image.bits)


def rescale_bits(image: Image, bits: int) -> Image:
    """Map the full range of one bit depth linearly onto that of another, rounding half up.

    ``y = floor(x * (2**bits - 1) / (2**image.bits - 1) + 1/2)``

    Examples
    --------
    >>> import numpy as np
    >>> twelve = Image(np.array([[0, 2048, 4095]], np.uint16), 12)
    >>> rescale_bits(twelve, 8).pixels.tolist()
    [[0, 128, 255]]
    """
    if bits == image.bits:
        return image
    top_in, top_out = image.max_value, (1 << bits) - 1
    table = (np.arange(top_in + 1, dtype=np.int64) * (2 * top_out) + top_in) // (2 * top_in)
    return Image(table.astype(container(bits))[image.pixels], bits, image.photometric)


def _check_shape(shape: tuple[int, ...], photometric: str) -> None:
    expected = {"RGB": (_STACK_NDIM,), "MONOCHROME2": (_IMAGE_NDIM, _STACK_NDIM)}.get(photometric)
    if expected is None:
        raise CaseError("bad-pixels", f"photometric {photometric!r} is not MONOCHROME2 or RGB")
    rgb_wrong = photometric == "RGB" and shape[-1] != _RGB_SAMPLES
    if len(shape) not in expected or rgb_wrong or 0 in shape:
        raise CaseError("bad-pixels", f"shape {shape} is no {photometric} image or volume")
