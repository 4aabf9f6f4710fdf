"""The numbers per point, as records: all that figures and reports read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from bitdose.errors import BitdoseError
from bitdose.results.schema import PRISTINE
from bitdose.stats.estimate import Estimate


@dataclass(frozen=True)
class ClassSummary:
    """One class at one point, one against the rest."""

    label: str
    n: int
    sensitivity: Estimate
    specificity: Estimate
    precision: Estimate
    f1: Estimate
    auroc: Estimate


@dataclass(frozen=True)
class Flips:
    """Answers that differ from the pristine answer on the same cases.

    ``n`` counts the cases classified at both points; ``share`` is ``changed / n``. The three
    kinds add up to ``changed``: a wrong answer can turn into another wrong one. Without such a
    case ``mcnemar_midp`` is NaN, for the reason that ``share`` gives.
    """

    n: int
    changed: int
    right_to_wrong: int
    wrong_to_right: int
    wrong_to_wrong: int
    share: Estimate
    harmful_share: Estimate
    mcnemar_midp: float


@dataclass(frozen=True)
class PointSummary:
    """All numbers of one point.

    Ratios without ``_mean`` are total bytes over total bytes; ``encode_ms`` and ``decode_ms``
    are medians per case; PSNR is the mean of the finite values (infinite if all are), SSIM
    the mean. ``confusion[true][predicted]`` follows ``Summary.labels``.
    """

    point: str
    chain: str
    codec: str
    quality: float | None
    strength: float
    size: str
    n_ok: int
    n_failed: int
    accuracy: Estimate
    macro_f1: Estimate
    accuracy_difference: Estimate
    macro_f1_difference: Estimate
    classes: tuple[ClassSummary, ...]
    confusion: tuple[tuple[int, ...], ...]
    flips: Flips
    ratio_pixels: float
    ratio_file: float
    ratio_pixels_mean: float
    ratio_file_mean: float
    coded_bytes_per_case: float
    rate_bpp: float
    psnr_db: float
    ssim: float
    encode_ms: float
    decode_ms: float


@dataclass(frozen=True)
class Summary:
    """All points of a study; ``points[0]`` is pristine, the rest by chain, mildest first.

    ``n_planned`` is the number of cases the study set out to run, 0 where that is not known; with
    fewer ``n_cases`` the study is unfinished, and what is there need not be typical of the whole.
    """

    model: str
    labels: tuple[str, ...]
    n_cases: int
    n_patients: int
    n_failed_cases: int
    level: float
    resampling_unit: str
    points: tuple[PointSummary, ...]
    failures: dict[str, int] = field(default_factory=dict)
    case_formats: dict[str, int] = field(default_factory=dict)
    n_lossy_sources: int = 0
    n_planned: int = 0

    def chains(self) -> dict[str, tuple[PointSummary, ...]]:
        """Return the points of each chain, mildest first, pristine left out."""
        grouped: dict[str, list[PointSummary]] = {}
        for point in self.points:
            if point.chain != PRISTINE:
                grouped.setdefault(point.chain, []).append(point)
        return {chain: tuple(sorted(points, key=lambda p: p.strength)) for chain, points in grouped.items()}

    def pristine(self) -> PointSummary:
        """Return the reference point; raises ``BitdoseError`` where the table has none."""
        for point in self.points:
            if point.point == PRISTINE:
                return point
        raise BitdoseError("the results hold no 'pristine' rows to compare with")

    def to_dict(self) -> dict[str, Any]:
        """Return the whole as JSON values: NaN as None, infinity as ``"inf"``."""
        plain: dict[str, Any] = _plain(self)
        return plain


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else f"{value}"
    return value
