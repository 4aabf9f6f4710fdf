"""From what Python programs hold pixels in to an :class:`~bitdose.image.Image`.

| given | shape | becomes |
| --- | --- | --- |
| ``Image`` | any | itself |
| PIL image | ``L``, ``RGB``, ``I;16``; other modes are converted | 8 or 16 bits |
| numpy array | ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)``, a volume ``(L, H, W)`` | as its values say |
| torch tensor | ``(H, W)``, ``(1, H, W)``, ``(3, H, W)``, a volume ``(L, H, W)``, ``(1, L, H, W)`` | so too |

``uint8`` and ``uint16`` are taken as they are, in 8 and 16 bits. Floating-point values must lie in [0, 1]:
they become 8 bits where that is exact, as after torchvision's ``ToTensor``, else 16. Everything else is
refused: what black and white are is not for a library to guess.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitdose.data.decoded import spread
from bitdose.errors import CaseError, UsageError
from bitdose.image import Image

_PIL_AS = {"1": "L", "P": "RGB", "LA": "L", "RGBA": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "I;16B": "I;16"}
_BYTE_TOP = 255
_IMAGE_NDIM = 2
_STACK_NDIM = 3
_BATCH_NDIM = 4
_RGB = 3
_EXPECTED = "expected uint8, uint16, or floats from 0 to 1"


class MappedPixels(NamedTuple):
    """An image, and the steps from the object's values to it (empty for none)."""

    image: Image
    mapping: str = ""


def image_of(value: Any, name: str = "pixels") -> MappedPixels:
    """Take the pixels out of an object, as defined at the top of this module.

    Parameters
    ----------
    value : Image, numpy.ndarray, torch.Tensor or PIL.Image.Image
        One image or volume.
    name : str
        What a message calls it.

    Raises
    ------
    UsageError
        If it is something else, or its shape, type or values are.

    Examples
    --------
    >>> image_of(np.array([[0.0, 1.0]])).image.pixels.tolist()
    [[0, 255]]
    >>> image_of(np.array([[0.1, 1.0]])).mapping
    'floats 0..1 > 16 bits'
    """
    if isinstance(value, Image):
        return MappedPixels(value)
    if hasattr(value, "getbands"):
        return _from_pil(value, name)
    if hasattr(value, "detach"):
        return _from_array(_channels_last(value.detach().cpu().numpy()), name)
    if isinstance(value, np.ndarray):
        return _from_array(value, name)
    raise UsageError(f"{name}: expected an array, a tensor or an image, got {type(value).__name__}")


def _from_pil(picture: Any, name: str) -> MappedPixels:
    mode = str(picture.mode)
    if mode in _PIL_AS:
        taken = _from_array(np.asarray(picture.convert(_PIL_AS[mode])), name)
        return taken._replace(mapping=f"{mode}>{_PIL_AS[mode]}".lower())
    return _from_array(np.asarray(picture), name)


def _channels_last(tensor: Any) -> NDArray[Any]:
    """Bring torch's ``(C, H, W)`` to ``(H, W, C)``; a volume loses its channel."""
    if tensor.ndim == _BATCH_NDIM and tensor.shape[0] == 1:
        tensor = tensor[0]
    elif tensor.ndim == _STACK_NDIM and tensor.shape[0] in (1, _RGB):
        tensor = tensor.transpose(1, 2, 0)
    return np.asarray(tensor)


def _from_array(values: NDArray[Any], name: str) -> MappedPixels:
    if values.ndim == _STACK_NDIM and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (_IMAGE_NDIM, _STACK_NDIM) or 0 in values.shape:
        raise UsageError(
            f"{name}: expected shape (H, W), (H, W, 3) or a volume (L, H, W), got {values.shape}"
        )
    samples, mapping = _samples(values, name)
    is_rgb = values.ndim == _STACK_NDIM and values.shape[-1] == _RGB
    try:
        return MappedPixels(Image(samples, samples.itemsize * 8, "RGB" if is_rgb else "MONOCHROME2"), mapping)
    except CaseError as error:
        raise UsageError(f"{name}: {error.reason}") from error


def _samples(values: NDArray[Any], name: str) -> tuple[NDArray[Any], str]:
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype in (np.uint8, np.uint16):
        return values, ""
    if not np.issubdtype(values.dtype, np.floating):
        whole = values.dtype.kind in "iu"
        hint = f" ({values.min()} to {values.max()}): convert with .astype('uint8')" if whole else ""
        raise UsageError(f"{name}: {_EXPECTED}, got {values.dtype}{hint}")
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise UsageError(
            f"{name}: {_EXPECTED}, got {values.dtype} from {low:g} to {high:g}; leave mean and std to the "
            "classifier's input"
        )
    bytes_ = values.astype(np.float64) * _BYTE_TOP
    is_exact = np.abs(bytes_ - np.rint(bytes_)).max() <= _BYTE_TOP * np.finfo(values.dtype).eps
    bits = 8 if is_exact else 16
    return spread(values, 0.0, 1.0, bits), f"floats 0..1 > {bits} bits"
