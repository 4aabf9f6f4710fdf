"""Decode a layered JPEG 2000 stream one quality layer after the other (``jpeg2000.c``)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bitdose.native.library import load


class LayeredDecoder:
    """Decodes a JPEG 2000 stream up to any of its quality layers; see ``jpeg2000.c`` for which streams.

    From few layers to many nothing is decoded twice; from many to few it begins anew.

    Parameters
    ----------
    data : bytes
        A raw codestream.

    Raises
    ------
    ValueError
        If the stream is broken or not of the form described in ``jpeg2000.c``, or no library is there.

    Examples
    --------
    >>> LayeredDecoder(b"no stream")
    Traceback (most recent call last):
    ValueError: not a stream that is decoded here
    """

    _handle: int | None = None
    _dtypes: ClassVar[dict[int, Any]] = {8: np.uint8, 16: np.uint16}

    def __init__(self, data: bytes) -> None:
        library = load()
        self._handle = library.bitdose_j2k_open(data, len(data)) if library else None
        if library is None or not self._handle:
            raise ValueError("not a stream that is decoded here")
        self._library = library
        size = np.zeros(4, np.int32)
        library.bitdose_j2k_size(self._handle, size.ctypes.data)
        height, width, bits, self.n_layers = size.tolist()
        self._shape, self._dtype = (height, width), self._dtypes[bits]

    def __del__(self) -> None:
        if self._handle:
            self._library.bitdose_j2k_close(self._handle)

    def decode(self, n_layers: int) -> NDArray[Any]:
        """Decode the first so many layers.

        Returns
        -------
        numpy.ndarray
            ``(H, W)`` uint8 or uint16, what OpenJPEG gives for a stream of those layers.

        Raises
        ------
        ValueError
            If there are not as many.
        """
        out = np.empty(self._shape, self._dtype)
        if not self._library.bitdose_j2k_decode(self._handle, n_layers, out.ctypes.data):
            raise ValueError(f"{n_layers} layers asked for, of {self.n_layers}")
        return out
