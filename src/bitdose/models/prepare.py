"""From an image to what the classifier sees: channels, size, range, mean and std, layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import CaseError
from bitdose.image import Image, to_grey
from bitdose.models.base import Batch, InputSpec
from bitdose.resample.kernels import resample_many


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
    check_fits(image, spec)
    return prepare_many([image], spec)[0]


def prepare_many(images: Sequence[Image], spec: InputSpec) -> list[Batch]:
    """Bring several images or volumes to entries of a batch, each as :func:`prepare` does, in less time.

    Parameters
    ----------
    images : sequence of Image
        Each has passed :func:`check_fits`.
    spec : InputSpec
        What the classifier wants.
    """
    planes = [plane for image in images for plane in image.slices()]
    shown = [to_grey(plane) if spec.channels == 1 else plane for plane in planes]
    pixels: list[NDArray[Any]] = [plane.pixels for plane in shown]
    if spec.size is not None:
        pixels = resample_many(pixels, spec.size[1], spec.size[0], kernel=spec.resize)
    values = iter([_values(p, plane.max_value, spec) for p, plane in zip(pixels, planes, strict=True)])
    arrays = []
    for image in images:
        entry = [next(values) for _ in range(image.n_slices)]
        array = np.stack(entry) if spec.takes_volumes else entry[0]
        if spec.layout.startswith("NC"):
            array = np.moveaxis(array, -1, 0)
        arrays.append(np.ascontiguousarray(array))
    return arrays


def check_fits(image: Image, spec: InputSpec) -> None:
    """Raise ``CaseError`` if a classifier of this spec cannot take the image, as :func:`prepare` does."""
    if image.is_volume != spec.takes_volumes:
        kinds = ("a volume" if image.is_volume else "an image", "volumes" if spec.takes_volumes else "images")
        message = f"the case is {kinds[0]} and the classifier takes {kinds[1]} (layout {spec.layout})"
        raise CaseError("model-input", message)
    if spec.slices not in (None, image.n_slices):
        raise CaseError("model-input", f"{image.n_slices} slices; the classifier takes {spec.slices} only")


def _values(pixels: NDArray[Any], max_value: int, spec: InputSpec) -> Batch:
    """Return one resized plane as ``(H, W, C)`` float32."""
    values = pixels.astype(np.float32)
    values /= np.float32(max_value)
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
