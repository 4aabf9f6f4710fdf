"""Monochrome DICOM samples to display values (PS3.3 C.11.1 and C.11.2).

Stored samples have at most 16 bits, so every step works on the ramp of possible values and
the image takes one table look-up.

- Bits above Bits Stored (old overlays) are cleared; signed samples keep their sign.
- **Rescale**: Modality LUT, else slope and intercept, per frame where the functional
  groups of an enhanced object say so; a missing slope is 1, a missing intercept 0, and a
  slope of 0 is refused.
- **Window**: VOI LUT, else the first window of the first frame (LINEAR, LINEAR_EXACT or
  SIGMOID); one window serves all frames, so that the slices of a volume stay comparable.
- **No window**: unsigned samples without rescale stay unchanged. Signed or rescaled
  ones are mapped linearly from their minimum to their maximum over all frames, since their
  possible range is far wider than the range in use.
- The result has ``bits`` = Bits Stored, at least 8 and at most 16; MONOCHROME1 is
  inverted last, so that 0 is black.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitdose.data.decoded import spread
from bitdose.errors import CaseError
from bitdose.image import Image, container, rescale_bits

_STACK_NDIM = 3
_MAX_BITS = 16
_MIN_BITS = 8
Ramp = NDArray[Any]


class _Lut(NamedTuple):
    """Look-up table, with its first mapped value and the bits of its entries."""

    table: NDArray[Any]
    first: int
    bits: int

    def __call__(self, values: Ramp) -> Ramp:
        index = np.floor(values + 0.5).astype(np.int64) - self.first
        return np.asarray(self.table[np.clip(index, 0, len(self.table) - 1)])


def to_grey_image(frames: NDArray[Any], dataset: Any) -> tuple[Image, tuple[str, ...]]:
    """Convert stored samples to a grey image or volume, by the rules at the top of this module.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(H, W)`` or ``(L, H, W)`` int: stored samples.
    dataset : pydicom.Dataset
        Attributes of the object.

    Returns
    -------
    tuple of Image and tuple of str
        The image, and the names of the applied steps.

    Raises
    ------
    CaseError
        ``unsupported`` for an unsupported bit depth or number of axes.
    """
    stored_bits = int(dataset.BitsStored)
    if not 1 <= stored_bits <= _MAX_BITS or frames.ndim > _STACK_NDIM:
        raise CaseError("unsupported", f"monochrome DICOM of {stored_bits} bits in {frames.ndim} axes")
    signed = bool(dataset.get("PixelRepresentation", 0))
    frames = _as_stored(frames, stored_bits, signed=signed)
    n_frames = len(frames) if frames.ndim == _STACK_NDIM else 1
    rescales = [_rescale(dataset, frame) for frame in range(n_frames)]
    window, window_step = _window(dataset)
    if window is None and not signed and set(rescales) == {None} and "ModalityLUTSequence" not in dataset:
        image, steps = _as_is(frames, stored_bits)
    else:
        image, steps = _mapped(frames, dataset, rescales, window)
        steps = (*steps, *window_step)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        image, steps = image.with_pixels(image.max_value - image.pixels), (*steps, "inverted")
    return image, steps


def _as_stored(frames: NDArray[Any], bits: int, *, signed: bool) -> NDArray[Any]:
    if not signed:
        return frames & frames.dtype.type((1 << bits) - 1) if frames.dtype.kind == "u" else frames
    spare = 8 * frames.dtype.itemsize - bits
    native = frames.astype(frames.dtype.newbyteorder("="), copy=False)
    whole = native.view(f"i{native.dtype.itemsize}")
    return (whole << spare) >> spare if spare > 0 else whole


def _as_is(frames: NDArray[Any], bits: int) -> tuple[Image, tuple[str, ...]]:
    image = Image(frames.astype(container(bits), copy=False), bits)
    return (image, ()) if bits >= _MIN_BITS else (rescale_bits(image, _MIN_BITS), (f"{bits} bit>8",))


def _mapped(
    frames: NDArray[Any],
    dataset: Any,
    rescales: list[tuple[float, float] | None],
    window: Callable[[Ramp], Ramp] | None,
) -> tuple[Image, tuple[str, ...]]:
    bits = max(_MIN_BITS, int(dataset.BitsStored))
    low = int(frames.min())
    ramp = np.arange(low, int(frames.max()) + 1)
    modality, steps = _modality(dataset, rescales)
    stacked = frames if frames.ndim == _STACK_NDIM else frames[None]
    ramps = {key: modality(ramp, key) for key in set(rescales)}
    if window is None:
        window, step = _full_span(stacked, rescales, ramps, low)
        steps = (*steps, step)
    tables = {key: spread(window(values), 0.0, 1.0, bits) for key, values in ramps.items()}
    pixels = np.empty(stacked.shape, container(bits))
    for target, frame, key in zip(pixels, stacked, rescales, strict=True):
        np.take(tables[key], frame.astype(np.int32) - low, out=target, mode="clip")
    return Image(pixels if frames.ndim == _STACK_NDIM else pixels[0], bits), steps


def _full_span(
    stacked: NDArray[Any], rescales: list[Any], ramps: dict[Any, Ramp], low: int
) -> tuple[Callable[[Ramp], Ramp], str]:
    lows, highs = [], []
    for frame, key in zip(stacked, rescales, strict=True):
        present = np.zeros(len(ramps[key]), bool)
        present[frame.astype(np.int32) - low] = True
        values = ramps[key][present]
        lows.append(float(values.min()))
        highs.append(float(values.max()))
    least, most = min(lows), max(highs)
    width = most - least or 1.0
    return (lambda values: (values - least) / width), f"full span {least:g}..{most:g}"


def _modality(
    dataset: Any, rescales: list[tuple[float, float] | None]
) -> tuple[Callable[[Ramp, Any], Ramp], tuple[str, ...]]:
    sequence = dataset.get("ModalityLUTSequence")
    if sequence:
        lut = lut_of(sequence[0], dataset)
        return (lambda ramp, _key: lut(ramp)), ("modality lut",)
    known = list(dict.fromkeys(key for key in rescales if key))
    if not known:
        return (lambda ramp, _key: ramp), ()
    step = f"rescale {known[0][0]:g}x{known[0][1]:+g}" if len(known) == 1 else "rescale per frame"
    if dataset.get("RescaleSlope") is None and dataset.get("RescaleIntercept") is not None:
        step += " (no slope in the header: 1)"
    return (lambda ramp, key: ramp * key[0] + key[1] if key else ramp), (step,)


def _group(dataset: Any, frame: int, sequence: str) -> Any:
    """Return the data set with a frame's attributes: a functional group, or the object itself."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for holder in (*per_frame[frame : frame + 1], *shared[:1]):
        if holder.get(sequence):
            return holder[sequence].value[0]
    return dataset


def _rescale(dataset: Any, frame: int) -> tuple[float, float] | None:
    group = _group(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = _first(group.get("RescaleSlope")), _first(group.get("RescaleIntercept"))
    factor, shift = 1.0 if slope is None else slope, intercept or 0.0
    if factor == 0 or not np.isfinite([factor, shift]).all():
        raise CaseError(
            "unsupported", f"Rescale Slope {factor:g}, Rescale Intercept {shift:g} blank the image"
        )
    return None if (factor, shift) == (1.0, 0.0) else (factor, shift)


def _window(dataset: Any) -> tuple[Callable[[Ramp], Ramp] | None, tuple[str, ...]]:
    """Return the map from rescaled values to [0, 1], if the object has one."""
    sequence = dataset.get("VOILUTSequence")
    if sequence:
        lut = lut_of(sequence[0], dataset)
        return (lambda values: lut(values) / ((1 << lut.bits) - 1)), ("voi lut",)
    group = _group(dataset, 0, "FrameVOILUTSequence")
    center, width = _first(group.get("WindowCenter")), _first(group.get("WindowWidth"))
    function = str(group.get("VOILUTFunction") or "LINEAR").upper()
    if center is None or width is None:
        return None, ()
    if width <= 0 or (function == "LINEAR" and width < 1):
        return None, ("invalid window ignored",)
    text = "" if function == "LINEAR" else f" {function.lower()}"
    return (lambda values: window(values, center, width, function)), (f"window {center:g}/{width:g}{text}",)


def window(
    values: NDArray[Any], center: float, width: float, function: str = "LINEAR"
) -> NDArray[np.float64]:
    """Map values through a window onto [0, 1] (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    LINEAR: ``(x - (c - 1/2)) / (w - 1) + 1/2``; LINEAR_EXACT: ``(x - c) / w + 1/2``;
    SIGMOID: ``1 / (1 + exp(-4 (x - c) / w))``; the first two clipped.

    Examples
    --------
    >>> import numpy as np
    >>> window(np.array([-20.0, 39.5, 200.0]), 40, 101).tolist()
    [0.0, 0.5, 1.0]
    """
    if function == "SIGMOID":
        power = np.clip(-4.0 * (values - center) / width, -700.0, 700.0)
        return np.asarray(1.0 / (1.0 + np.exp(power)), np.float64)
    if function not in ("LINEAR", "LINEAR_EXACT"):
        raise CaseError("unsupported", "a VOI LUT function other than LINEAR, LINEAR_EXACT, SIGMOID")
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    if width == 0:
        return np.asarray(values > center, np.float64)
    return np.asarray(np.clip((values - center) / width + 0.5, 0.0, 1.0), np.float64)


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    many = isinstance(value, (list, tuple)) or hasattr(value, "__getitem__")
    return float(value[0]) if many and not isinstance(value, str) else float(value)


def lut_of(item: Any, dataset: Any) -> _Lut:
    """Read a Modality or VOI LUT item, its data as words, bytes or packed bytes."""
    n_entries, first, bits = (int(value) for value in item.LUTDescriptor)
    n_entries = n_entries or 1 << 16
    if dataset.get("PixelRepresentation") and first >= 1 << 15:
        first -= 1 << 16
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        data = np.frombuffer(data, np.uint8 if len(data) < 2 * n_entries else f"{order}u2")
    table = np.asarray(data, np.int64)[:n_entries]
    if len(table) < n_entries or not 1 <= bits <= _MAX_BITS:
        raise CaseError("unreadable", "a DICOM look-up table is shorter than its descriptor")
    return _Lut(table, first, bits)
