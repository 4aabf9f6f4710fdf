"""The columns of a row that are known before its answer: the case's, the source's, the coding's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bitdose.codecs.coding import Coded, kernel_names
from bitdose.codecs.point import Point
from bitdose.data.base import Case, Source
from bitdose.image import Image
from bitdose.metrics.fidelity import psnr_db, ssim
from bitdose.results.schema import COLUMNS

Row = dict[str, Any]


def identity_columns(case: Case, point: Point, model: str) -> Row:
    """Return what names a row: the case, the point, the classifier."""
    resize = point.resize
    return {
        "case_id": case.id,
        "case_label": case.label,
        "case_patient": case.patient,
        "case_split": case.split,
        **_further_columns(case),
        "point": str(point),
        "codec_name": point.codec,
        "codec_chain": point.chain,
        "codec_quality": None if point.quality is None else float(point.quality),
        "codec_strength": float(point.strength),
        "codec_size": f"{resize.width}x{resize.height}" if resize else "",
        "codec_kernels": kernel_names(resize),
        "model": model,
    }


def _further_columns(case: Case) -> Row:
    """Return the table's own columns; one that we measure ourselves gives way to what we measure."""
    named = {f"case_{name}": value for name, value in case.columns.items()}
    return {name: value for name, value in named.items() if name not in COLUMNS}


def source_columns(source: Source) -> Row:
    """Return what was found in the case's file."""
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


def coding_columns(original: Image, coded: Coded, *, with_ssim: bool) -> Row:
    """Return what coding took and what it left of the image."""
    row: Row = {
        "codec_mode": coded.mode,
        "codec_library": coded.library,
        "codec_mapping": coded.mapping,
        "bytes_coded": coded.coded_bytes,
        "encode_ms": coded.encode_ms,
        "decode_ms": coded.decode_ms,
    }
    if coded.image.pixels.shape != original.pixels.shape:
        return row | {"psnr_db": math.nan, "ssim": math.nan}
    row["psnr_db"] = psnr_db(original.pixels, coded.image.pixels, peak=original.max_value)
    if with_ssim:
        pairs = zip(original.slices(), coded.image.slices(), strict=True)
        row["ssim"] = float(np.mean([ssim(a.pixels, b.pixels, peak=a.max_value) for a, b in pairs]))
    return row
