"""Decode a chain of JPEG 2000 streams, each from where the one before ended (``jpeg2000.c``)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bitdose.native.library import load


class LayeredDecoder:
    """Decodes JPEG 2000 streams of one plane, each from where the one before ended; see ``jpeg2000.c``.

    From few layers to many nothing is decoded twice; from many to few it restarts.

    Parameters
    ----------
    *streams : bytes
        Raw codestreams: a layered one, or several of one layer, from the shortest to the longest, of which
        each holds all that the one before holds. They count as layers then.

    Raises
    ------
    ValueError
        If a stream is broken or not of the form described in ``jpeg2000.c``, or no library is there.

    Attributes
    ----------
    n_layers : int
        How many layers there are.
    dtype : numpy.dtype
        Of the samples: uint8 or uint16.

    Examples
    --------
    >>> LayeredDecoder(b"no stream")
    Traceback (most recent call last):
    ValueError: no streams that are decoded here
    """

    _handle: int | None = None
    _dtypes: ClassVar[dict[int, Any]] = {8: np.uint8, 16: np.uint16}

    def __init__(self, *streams: bytes) -> None:
        library, ends = load(), np.cumsum([len(data) for data in streams], dtype=np.uint64)
        if library is not None:
            self._handle = library.bitdose_j2k_open(b"".join(streams), ends.ctypes.data, len(streams))
        if library is None or not self._handle:
            raise ValueError("no streams that are decoded here")
        self._library = library
        size = np.zeros(4, np.int32)
        library.bitdose_j2k_size(self._handle, size.ctypes.data)
        height, width, bits, self.n_layers = size.tolist()
        self._shape = height, width
        self.dtype: np.dtype[Any] = np.dtype(self._dtypes[bits])

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
        out = np.empty(self._shape, self.dtype)
        if not self._library.bitdose_j2k_decode(self._handle, n_layers, out.ctypes.data):
            raise ValueError(f"{n_layers} layers asked for, of {self.n_layers}")
        return out
