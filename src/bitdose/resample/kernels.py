"""Down- and upsizing kernels, each name one library's.

``lanczos4``, ``linear`` and ``area`` are OpenCV's. Its Lanczos-4 has 8x8 taps and does
**not** anti-alias when it shrinks (the paper's kernel); ``area`` averages. ``lanczos3``,
``bicubic`` and ``bilinear`` are Pillow's, which widen with the scale and so anti-alias.
The name of kernel and library goes into every result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import UsageError
from bitdose.resample.polyphase import bilinear_down, lanczos4_up

Plane = NDArray[Any]

_BANDS = 4


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
    quick = _by_whole_factors(pixels, width, height, kernel)
    if quick is not None:
        return quick
    resize: Callable[[Plane, int, int, str], Plane]
    resize = _resize_opencv if found.library == "opencv" else _resize_pillow
    return resize(pixels, width, height, found.constant)


def resample_many(planes: Sequence[Plane], width: int, height: int, *, kernel: str) -> list[Plane]:
    """Resize several images; sample for sample what :func:`resample` gives for each.

    Pillow spends as long on one 8-bit channel as on most of four, so grey images of one size that need
    it go through it four at a time, as the bands of one image.

    Parameters
    ----------
    planes : sequence of numpy.ndarray
        Each as for :func:`resample`.
    width, height, kernel
        As for :func:`resample`.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(64, dtype=np.uint8).reshape(8, 8)
    >>> several = resample_many([ramp, ramp.T], 4, 4, kernel="bilinear")
    >>> bool((several[1] == resample(ramp.T, 4, 4, kernel="bilinear")).all())
    True
    """
    done: list[Plane] = []
    while len(done) < len(planes):
        some = planes[len(done) : len(done) + _BANDS]
        quick = [_by_whole_factors(plane, width, height, kernel) for plane in some]
        if all(plane is not None for plane in quick):
            done += [plane for plane in quick if plane is not None]
        elif _fit_one_image(some, width, height, kernel):
            done += _resize_as_bands(some, width, height, KERNELS[kernel].constant)
        else:
            done += [resample(plane, width, height, kernel=kernel) for plane in some]
    return done


def _by_whole_factors(pixels: Plane, width: int, height: int, kernel: str) -> Plane | None:
    """Resize where a kernel is as exact and faster by a whole factor; None elsewhere."""
    if kernel == "lanczos4":
        return lanczos4_up(pixels, width, height)
    return bilinear_down(pixels, width, height) if kernel == "bilinear" else None


def _fit_one_image(planes: Sequence[Plane], width: int, height: int, kernel: str) -> bool:
    """Whether planes can be the bands of one image, and gain by it."""
    shapes = {(plane.shape, plane.dtype) for plane in planes}
    first = planes[0]
    fit = len(planes) > 1 and len(shapes) == 1 and first.dtype == np.uint8 and first.ndim == 2  # noqa: PLR2004
    return fit and KERNELS[check_kernel(kernel)].library == "pillow" and first.shape != (height, width)


def _resize_as_bands(planes: Sequence[Plane], width: int, height: int, constant: str) -> list[Plane]:
    import cv2
    from PIL import Image

    bands = cv2.merge([*planes, *[planes[-1]] * (_BANDS - len(planes))])
    # RGBX, since Pillow weighs the colours of RGBA by its alpha.
    packed = Image.frombuffer("RGBX", bands.shape[1::-1], bands, "raw", "RGBX", 0, 1)
    resized = np.asarray(packed.resize((width, height), getattr(Image.Resampling, constant)))
    return list(cv2.split(resized))[: len(planes)]


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
