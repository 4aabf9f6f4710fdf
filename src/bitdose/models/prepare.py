"""From an image to what the classifier sees: channels, size, range, mean and std, layout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import CaseError
from bitdose.image import Image, to_grey
from bitdose.models.base import Batch, InputSpec
from bitdose.resample import resample


def prepare(image: Image, spec: InputSpec) -> Batch:
    """Bring one image or volume to one entry of a classifier's batch.

    The resize works on the integer samples, as the usual loaders do; then
    ``(x / max * (high - low) + low - mean) / std`` in float32.

    Parameters
    ----------
    image : Image
        The decoded image.
    spec : InputSpec
        What the classifier wants.

    Returns
    -------
    numpy.ndarray
        float32, the spec's layout without N: ``(C, H, W)``, ``(H, W, C)``, ``(C, L, H, W)`` …

    Raises
    ------
    CaseError
        If the case is a volume and the classifier takes images, or the other way round, or a
        volume has another number of slices than it takes.

    Examples
    --------
    >>> spec = InputSpec(labels=("a", "b"), size=(2, 2), channels=3)
    >>> prepare(Image(np.full((4, 4), 255, np.uint8)), spec).shape
    (3, 2, 2)
    """
    if image.is_volume != spec.takes_volumes:
        kinds = ("a volume" if image.is_volume else "an image", "volumes" if spec.takes_volumes else "images")
        message = f"the case is {kinds[0]} and the classifier takes {kinds[1]} (layout {spec.layout})"
        raise CaseError("model-input", message)
    if spec.slices not in (None, image.n_slices):
        raise CaseError("model-input", f"{image.n_slices} slices; the classifier takes {spec.slices} only")
    planes = [_plane(plane, spec) for plane in image.slices()]
    array = np.stack(planes) if spec.takes_volumes else planes[0]
    if spec.layout.startswith("NC"):
        array = np.moveaxis(array, -1, 0)
    return np.ascontiguousarray(array)


def _plane(plane: Image, spec: InputSpec) -> Batch:
    """Return one plane as ``(H, W, C)`` float32."""
    shown = to_grey(plane) if spec.channels == 1 else plane
    pixels: NDArray[Any] = shown.pixels
    if spec.size is not None:
        pixels = resample(pixels, spec.size[1], spec.size[0], kernel=spec.resize)
    values = pixels.astype(np.float32)
    values /= np.float32(plane.max_value)
    low, high = spec.range
    if (low, high) != (0.0, 1.0):
        values = values * np.float32(high - low) + np.float32(low)
    values = values if values.ndim == 3 else values[..., None]  # noqa: PLR2004
    if values.shape[-1] != spec.channels:
        values = np.repeat(values, spec.channels, axis=-1)
    if set(spec.mean) != {0.0} or set(spec.std) != {1.0}:
        mean, std = (np.asarray(constants, np.float32) for constants in (spec.mean, spec.std))
        values = np.asarray((values - mean) / std, np.float32)
    return values
