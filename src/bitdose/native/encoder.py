"""Encode an image as JPEG 2000 at many rates at the cost of little more than one (``encoder.c``)."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.native.library import load


class RatesEncoder:
    """Encodes one plane or colour image at any number of rates: it is transformed and coded once.

    Parameters
    ----------
    pixels : numpy.ndarray
        ``(H, W)`` uint8 or uint16, or ``(H, W, 3)`` uint8.
    like : bytes
        A codestream by OpenJPEG of an image of that shape and depth, whose main header those to come have;
        see ``encoder.c`` for its form.

    Raises
    ------
    ValueError
        If ``like`` is of another form or of another image, or no library is there.

    Examples
    --------
    >>> RatesEncoder(np.zeros((8, 8), np.uint8), b"no stream")
    Traceback (most recent call last):
    ValueError: not a form that is encoded here
    """

    _handle: int | None = None

    def __init__(self, pixels: NDArray[Any], like: bytes) -> None:
        library = load()
        plane = np.ascontiguousarray(pixels)
        if library is not None and plane.dtype in (np.uint8, np.uint16) and plane.ndim in (2, 3):
            height, width, *components = plane.shape
            size = np.array([height, width, 8 * plane.itemsize, *(components or [1])], np.int32)
            self._handle = library.bitdose_j2k_encode(plane.ctypes.data, size.ctypes.data, like, len(like))
        if library is None or not self._handle:
            raise ValueError("not a form that is encoded here")
        self._library = library

    def __del__(self) -> None:
        if self._handle:
            self._library.bitdose_j2k_encoder_close(self._handle)

    def encode_at_ratio(self, ratio: float) -> bytes:
        """Return the codestream at a ratio, above 1, of raw to coded bytes: OpenJPEG's, byte for byte."""
        return self._written(self._library.bitdose_j2k_choose_ratio(self._handle, ratio))

    def encode_at_psnr(self, psnr_db: float) -> bytes:
        """Return the codestream at a PSNR whose peak is 255 or 65535: OpenJPEG's, byte for byte."""
        return self._written(self._library.bitdose_j2k_choose_psnr(self._handle, psnr_db))

    def _written(self, n_bytes: int) -> bytes:
        out = ctypes.create_string_buffer(n_bytes)
        self._library.bitdose_j2k_write(self._handle, out)
        return out.raw
