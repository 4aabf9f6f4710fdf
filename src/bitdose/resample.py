"""Down- and upsizing kernels, each name one library's.

``lanczos4``, ``linear`` and ``area`` are OpenCV's. Its Lanczos-4 has 8x8 taps and does
**not** anti-alias when it shrinks (the paper's kernel); ``area`` averages. ``lanczos3``,
``bicubic`` and ``bilinear`` are Pillow's, which widen with the scale and so anti-alias.
The name of kernel and library goes into every result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import UsageError

Plane = NDArray[Any]


class Kernel(NamedTuple):
    """A resampling kernel: its library, that library's name for it, what it does."""

    library: str
    constant: str
    antialiases: bool


KERNELS: dict[str, Kernel] = {
    "lanczos4": Kernel("opencv", "INTER_LANCZOS4", antialiases=False),
    "linear": Kernel("opencv", "INTER_LINEAR", antialiases=False),
    "area": Kernel("opencv", "INTER_AREA", antialiases=True),
    "lanczos3": Kernel("pillow", "LANCZOS", antialiases=True),
    "bicubic": Kernel("pillow", "BICUBIC", antialiases=True),
    "bilinear": Kernel("pillow", "BILINEAR", antialiases=True),
}


def check_kernel(name: str) -> str:
    """Return ``name`` if it is a kernel; raise :class:`UsageError` if not."""
    if name not in KERNELS:
        raise UsageError(f"unknown kernel {name!r}: known: {', '.join(KERNELS)}")
    return name


def resample(pixels: Plane, width: int, height: int, *, kernel: str) -> Plane:
    """Resize one image to ``width`` x ``height`` samples.

    Parameters
    ----------
    pixels : numpy.ndarray
        ``(H, W)`` or ``(H, W, 3)``; ``uint8``, ``uint16`` or (grey) ``float32``.
    width, height : int
        Target size in samples.
    kernel : str
        A name of :data:`KERNELS`.

    Returns
    -------
    numpy.ndarray
        The resized image in the same dtype, saturated to its range.

    Raises
    ------
    UsageError
        If the kernel is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> resample(np.full((4, 4), 9, np.uint8), 2, 3, kernel="area").shape
    (3, 2)
    """
    found = KERNELS[check_kernel(kernel)]
    if pixels.shape[:2] == (height, width):
        return pixels
    resize: Callable[[Plane, int, int, str], Plane]
    resize = _resize_opencv if found.library == "opencv" else _resize_pillow
    return resize(pixels, width, height, found.constant)


def _resize_opencv(pixels: Plane, width: int, height: int, constant: str) -> Plane:
    import cv2

    return cv2.resize(pixels, (width, height), interpolation=getattr(cv2, constant))


def _resize_pillow(pixels: Plane, width: int, height: int, constant: str) -> Plane:
    from PIL import Image

    method = getattr(Image.Resampling, constant)
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).resize((width, height), method))
    # Pillow filters 16-bit samples only as float, one channel at a time.
    planes = pixels[..., None] if pixels.ndim == 2 else pixels  # noqa: PLR2004
    done = [
        np.asarray(Image.fromarray(planes[..., c].astype(np.float32)).resize((width, height), method))
        for c in range(planes.shape[-1])
    ]
    result = done[0] if pixels.ndim == 2 else np.stack(done, axis=-1)  # noqa: PLR2004
    if pixels.dtype == np.float32:
        return result
    top = np.iinfo(pixels.dtype).max
    return np.clip(np.floor(result + 0.5), 0, top).astype(pixels.dtype)
