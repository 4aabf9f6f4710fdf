"""Bytes, ratios and fidelity of one point, from its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdose.metrics.rate import mean_ratio, rate_bpp, total_ratio

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Rates:
    """Ratios and bytes of one point; see ``PointSummary`` for their meaning."""

    ratio_pixels: float
    ratio_file: float
    ratio_pixels_mean: float
    ratio_file_mean: float
    coded_bytes_per_case: float
    rate_bpp: float


def rates_of(ok: pl.DataFrame) -> Rates:
    """Measure a point's rows that are ok."""
    coded, pixels = ok["bytes_coded"].to_numpy(), ok["bytes_pixels"].to_numpy()
    file = ok["bytes_file"].to_numpy()
    samples = (ok["case_height"] * ok["case_width"] * ok["case_slices"]).to_numpy()
    known = ok["case_height"].null_count() == 0
    return Rates(
        ratio_pixels=total_ratio(pixels, coded),
        ratio_file=total_ratio(file, coded),
        ratio_pixels_mean=mean_ratio(pixels, coded),
        ratio_file_mean=mean_ratio(file, coded),
        coded_bytes_per_case=float(np.mean(coded)) if len(ok) else float("nan"),
        rate_bpp=rate_bpp(coded, samples) if known else float("nan"),
    )


def mean_psnr_db(ok: pl.DataFrame) -> float:
    """Return the mean of the finite values, infinity if all are infinite, NaN if there is none."""
    psnr = ok["psnr_db"].drop_nulls()
    finite = psnr.filter(psnr.is_finite())
    return number(finite.mean()) if len(finite) else number(psnr.max())


def number(value: Any) -> float:
    """Return a number or NaN for None."""
    return float("nan") if value is None else float(value)
