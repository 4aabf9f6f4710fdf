"""Single-file NIfTI-1 and NIfTI-2, plain or gzip-compressed.

- **Axes.** The array is brought to the closest canonical (RAS+) orientation by flips and
  swaps, never by interpolation; a file with an identity affine keeps its
  order. The volume is ``(L, H, W)`` = (third, second, first) array axis: slices
  run from inferior to superior, rows from posterior to anterior, columns from the
  patient's left to right. Nothing is mirrored for display.
- **Samples.** ``uint8`` without scaling stays unchanged, 8 bits. All others are scaled by
  ``scl_slope`` and ``scl_inter`` where the header has them, then mapped linearly, minimum
  to maximum of the volume, onto 16 bits.
- **Non-finite values**, usual outside the brain, become the minimum (NaN,
  -inf) or maximum (+inf) of the others; the mapping counts them.
- A two-dimensional file is an image; trailing axes of length one are dropped; a series of
  volumes, complex numbers and colours are rejected.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.data.decoded import Decoded, check_pixel_count, spread
from bitdose.data.sniff import inflate, is_gzip
from bitdose.errors import CaseError
from bitdose.image import Image

_HEADER_BYTES = 560
_NIFTI1_BYTES = 348
_BITS = 16
_VOLUME_NDIM = 3
_LARGEST_OFFSET = 1 << 24  # of extensions in between; more would only have to be inflated


def read_nifti(data: bytes, *, max_pixels: int) -> Decoded:
    """Decode a NIfTI file from memory, by the rules at the top of this module.

    Parameters
    ----------
    data : bytes
        Contents of the file, gzip-compressed or not.
    max_pixels : int
        Limit of decoded voxels.

    Raises
    ------
    CaseError
        ``truncated``, ``too-large`` (by the header, before the voxels are inflated) or
        ``unsupported``.
    """
    nibabel = _nibabel()
    header = _header(data)
    shape = _shape(header)
    check_pixel_count(shape, max_pixels)
    offset = _offset(header)
    end = offset + math.prod(shape) * header.get_data_dtype().itemsize
    plain = inflate(data, end) if is_gzip(data) else data
    if len(plain) < end:
        raise CaseError("truncated", f"NIfTI data end before the {end} bytes declared by the header")
    kind = nibabel.Nifti1Image if _is_first_version(plain) else nibabel.Nifti2Image
    if offset != int(header.get_data_offset()):
        header["vox_offset"] = offset
        plain = header.binaryblock + plain[len(header.binaryblock) :]
    canonical = nibabel.as_closest_canonical(kind.from_stream(BytesIO(plain)))
    return _decoded(np.asanyarray(canonical.dataobj).reshape(canonical.shape[: len(shape)]))


def _decoded(array: NDArray[Any]) -> Decoded:
    values = array.T
    if values.dtype == np.uint8:
        return Decoded(Image(values), lossy=False)
    values, cleaned = _finite(values)
    low, high = float(values.min()), float(values.max())
    image = Image(spread(values, low, high, _BITS), _BITS)
    return Decoded(image, lossy=False, steps=(*cleaned, f"{low:g}..{high:g}>{_BITS} bits"))


def _finite(values: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    if values.dtype.kind != "f":
        return values, ()
    good = np.isfinite(values)
    n_bad = int(values.size - np.count_nonzero(good))
    if n_bad == 0:
        return values, ()
    if n_bad == values.size:
        raise CaseError("unsupported", "NIfTI data without a finite value")
    low, high = values[good].min(), values[good].max()
    return np.nan_to_num(values, nan=low, neginf=low, posinf=high), (f"{n_bad} not finite>min or max",)


def _nibabel() -> Any:
    """Import nibabel, which is untyped."""
    import nibabel

    return nibabel


def _header(data: bytes) -> Any:
    nibabel = _nibabel()
    head = inflate(data, _HEADER_BYTES) if is_gzip(data) else data[:_HEADER_BYTES]
    kind = nibabel.Nifti1Header if _is_first_version(head) else nibabel.Nifti2Header
    n_bytes = _NIFTI1_BYTES if _is_first_version(head) else _HEADER_BYTES - 20
    if len(head) < n_bytes:
        raise CaseError("truncated", "the NIfTI header is cut off")
    return kind(head[:n_bytes])


def _offset(header: Any) -> int:
    """Return where the voxels begin; 0 stands for the end of the header, as in files of older writers."""
    offset = int(header.get_data_offset())
    if offset == 0:
        return int(header.single_vox_offset)
    if not 0 < offset <= _LARGEST_OFFSET:
        raise CaseError("unsupported", f"NIfTI voxels that begin at byte {offset}")
    return offset


def _is_first_version(data: bytes) -> bool:
    return data[344:348] == b"n+1\0"


def _shape(header: Any) -> tuple[int, ...]:
    shape = tuple(int(side) for side in header.get_data_shape())
    while len(shape) > 2 and shape[-1] == 1:  # noqa: PLR2004
        shape = shape[:-1]
    if len(shape) not in (2, _VOLUME_NDIM):
        text = "x".join(str(side) for side in shape)
        raise CaseError("unsupported", f"NIfTI data of {text}; expected one image or one volume")
    if header.get_data_dtype().kind not in "iuf":
        raise CaseError("unsupported", "NIfTI data that are not real numbers")
    return shape
