"""Columns of a row that are known before its prediction: case, source and coding."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from bitdose.codecs.coding import Coded, kernel_names
from bitdose.codecs.point import Point
from bitdose.data.base import Case, Source
from bitdose.image import Image
from bitdose.metrics.fidelity import SsimReference, psnr_db
from bitdose.results.schema import COLUMNS

Row = dict[str, Any]


def identity_columns(case: Case, point: Point, model: str) -> Row:
    """Return the key columns of a row: case, point and classifier."""
    return {
        "case_id": case.id,
        "case_label": case.label,
        "case_patient": case.patient,
        "case_split": case.split,
        **_further_columns(case),
        **_point_columns(point),
        "model": model,
    }


@lru_cache(maxsize=1024)
def _point_columns(point: Point) -> Mapping[str, Any]:
    """Return the columns of a point, the same for every case."""
    resize = point.resize
    return MappingProxyType(
        {
            "point": str(point),
            "codec_name": point.codec,
            "codec_chain": point.chain,
            "codec_quality": None if point.quality is None else float(point.quality),
            "codec_strength": float(point.strength),
            "codec_size": f"{resize.width}x{resize.height}" if resize else "",
            "codec_kernels": kernel_names(resize),
        }
    )


def _further_columns(case: Case) -> Row:
    """Return the extra columns of the case table, except those that the study measures."""
    named = {f"case_{name}": value for name, value in case.columns.items()}
    return {name: value for name, value in named.items() if name not in COLUMNS}


def source_columns(source: Source) -> Row:
    """Return the columns of the case's file."""
    image = source.image
    return {
        "case_format": source.format,
        "case_lossy": source.lossy,
        "case_digest": source.digest,
        "case_mapping": source.mapping,
        "case_height": image.height,
        "case_width": image.width,
        "case_slices": image.n_slices,
        "case_bits": image.bits,
        "bytes_file": source.file_bytes,
        "bytes_pixels": image.raw_bytes,
    }


class Original:
    """Reference image for the fidelity metrics of a case's points.

    Parameters
    ----------
    image : Image
        Image as read.
    with_ssim : bool
        Whether SSIM is measured; the reference's share of it is cached for an image, for a volume
        it is repeated slice by slice.
    """

    def __init__(self, image: Image, *, with_ssim: bool) -> None:
        self._image, self._with_ssim = image, with_ssim
        keep = with_ssim and not image.is_volume
        self._kept = [SsimReference.of(image.pixels, peak=image.max_value)] if keep else None

    def fidelity(self, decoded: Image) -> Row:
        """Return the fidelity metrics of a decoded image; NaN where its shape differs."""
        original = self._image
        if decoded.pixels.shape != original.pixels.shape:
            return {"psnr_db": math.nan, "ssim": math.nan}
        row = {"psnr_db": psnr_db(original.pixels, decoded.pixels, peak=original.max_value)}
        if self._with_ssim:
            pairs = zip(self._references(), decoded.slices(), strict=True)
            row["ssim"] = float(np.mean([reference.ssim(plane.pixels) for reference, plane in pairs]))
        return row

    def _references(self) -> Iterable[SsimReference]:
        planes = self._image.slices()
        return self._kept or (SsimReference.of(plane.pixels, peak=plane.max_value) for plane in planes)


def coding_columns(original: Original, coded: Coded) -> Row:
    """Return the columns of one coding: times, sizes and fidelity."""
    return {
        "codec_mode": coded.mode,
        "codec_library": coded.library,
        "codec_mapping": coded.mapping,
        "bytes_coded": coded.coded_bytes,
        "encode_ms": coded.encode_ms,
        "decode_ms": coded.decode_ms,
    } | original.fidelity(coded.image)
