"""The numbers per point, as records: all that figures and reports read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from bitdose.errors import BitdoseError, MissingBackendError
from bitdose.results.schema import PRISTINE
from bitdose.stats.estimate import Estimate

if TYPE_CHECKING:
    import polars as pl

Row = dict[str, Any]

LIKE_RATIO = 1.15
USEFUL_LOSS = 0.05
_ESTIMATES = "estimates"
_NAMES = ("point", "chain", "codec", "quality", "strength", "size", "n_ok", "n_failed")
_MEASURED = (
    "ratio_file",
    "ratio_pixels",
    "ratio_file_mean",
    "ratio_pixels_mean",
    "coded_bytes_per_case",
    "rate_bpp",
    "psnr_db",
    "ssim",
    "encode_ms",
    "decode_ms",
)
_FLIP_COUNTS = ("n", "changed", "right_to_wrong", "wrong_to_right", "wrong_to_wrong", "mcnemar_midp")
_P_VALUE = ("p_value", "p_method", "p_reason")


@dataclass(frozen=True)
class ClassSummary:
    """One class at one point, one against the rest.

    ``estimates`` holds every metric of a class in the catalogue by its name, and its difference against
    pristine under ``NAME_difference``. ``n`` counts the cases of the class.
    """

    label: str
    n: int
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True)
class Flips:
    """Predictions that differ from the pristine prediction on the same cases.

    ``n`` counts the cases classified at both points; ``share`` is ``changed / n``. The three
    kinds add up to ``changed``: a wrong prediction can turn into another wrong one. ``mcnemar_midp``
    is NaN without such a case, for the reason that ``share`` gives, and where a patient has
    several cases: the test takes cases as independent. ``p_value`` is two-sided for as many healed
    as harmed predictions: McNemar's mid-p where each patient has one case, else Obuchowski's clustered
    test; ``p_reason`` says why it is NaN. None is corrected for the number of points.
    """

    n: int
    changed: int
    right_to_wrong: int
    wrong_to_right: int
    wrong_to_wrong: int
    share: Estimate
    harmful_share: Estimate
    mcnemar_midp: float
    p_value: float
    p_method: str
    p_reason: str


@dataclass(frozen=True)
class PointSummary:
    """All numbers of one point.

    Ratios without ``_mean`` are total bytes over total bytes; ``encode_ms`` and ``decode_ms``
    are medians per case; PSNR is the mean of the finite values (infinite if all are), SSIM
    the mean. ``confusion[true][predicted]`` follows ``Summary.labels``. ``estimates`` holds every metric of
    all classes in the catalogue by its name, and its difference against pristine under
    ``NAME_difference``; where lower is better, a positive difference is a loss.
    """

    point: str
    chain: str
    codec: str
    quality: float | None
    strength: float
    size: str
    n_ok: int
    n_failed: int
    estimates: Mapping[str, Estimate]
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

    @property
    def ratio(self) -> float:
        """Ratio of the source files, or of the raw pixels where there are no files (cases from arrays)."""
        return self.ratio_pixels if math.isnan(self.ratio_file) else self.ratio_file

    @property
    def ratio_words(self) -> str:
        """``ratio`` with what it is of, such as ``12.3:1 of the source files``."""
        of = "raw pixels" if math.isnan(self.ratio_file) else "source files"
        return f"{self.ratio:.1f}:1 of the {of}"

    @property
    def accuracy(self) -> Estimate:
        """Share of cases predicted right."""
        return self.estimates["accuracy"]

    @property
    def accuracy_difference(self) -> Estimate:
        """Accuracy minus that at pristine."""
        return self.estimates["accuracy_difference"]

    @property
    def macro_f1(self) -> Estimate:
        """Mean of the classes' F1."""
        return self.estimates["macro_f1"]

    def with_estimates(self, **changes: Estimate) -> PointSummary:
        """Return the point with other estimates of some metrics."""
        return replace(self, estimates={**self.estimates, **changes})


@dataclass(frozen=True)
class InFp32:
    """The pristine cases in fp32, beside the same in the precision that the study ran in.

    ``accuracy`` is fp32's, on the ``n`` cases with a prediction in both; ``accuracy_difference`` and
    ``flips`` are what the precision alone does, without any coding: the study's pristine predictions
    against those in fp32. ``largest_gap`` is of any class's probability on any case.
    """

    n: int
    accuracy: Estimate
    accuracy_difference: Estimate
    flips: Flips
    largest_gap: float


@dataclass(frozen=True)
class Comparison:
    """Downsizing first against not, at a like ratio of the source files.

    ``full`` and ``small`` name the points; ``difference`` is the accuracy of ``small`` minus that
    of ``full`` on the cases classified at both.
    """

    full: str
    small: str
    difference: Estimate


@dataclass(frozen=True)
class Summary:
    """All points of a study; ``points[0]`` is pristine, the rest by chain, weakest compression first.

    ``n_planned`` is the number of cases the study set out to run, 0 where that is not known; with
    fewer ``n_cases`` the study is unfinished, and what is there need not be typical of the whole.
    ``in_fp32`` is None where the study itself ran in fp32.
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
    comparisons: tuple[Comparison, ...] = ()
    in_fp32: InFp32 | None = None

    @property
    def unfinished(self) -> bool:
        """Whether fewer cases are here than the study set out to run."""
        return self.n_cases < self.n_planned

    def chains(self) -> dict[str, tuple[PointSummary, ...]]:
        """Return the points of each chain, weakest compression first, pristine left out."""
        grouped: dict[str, list[PointSummary]] = {}
        for point in self.points:
            if point.chain != PRISTINE:
                grouped.setdefault(point.chain, []).append(point)
        return {chain: tuple(sorted(points, key=lambda p: p.strength)) for chain, points in grouped.items()}

    def downsizings(self) -> list[tuple[tuple[PointSummary, ...], tuple[PointSummary, ...]]]:
        """Return each pair of a full-size and a downsized chain of the same codec."""
        chains = list(self.chains().values())
        full, small = ([c for c in chains if bool(c[0].size) == sized] for sized in (False, True))
        return [(a, b) for a in full for b in small if a[0].codec == b[0].codec]

    def pristine(self) -> PointSummary:
        """Return the reference point; raises ``BitdoseError`` where the table has none."""
        for point in self.points:
            if point.point == PRISTINE:
                return point
        raise BitdoseError("the results hold no 'pristine' rows to compare with")

    def rows(self) -> list[Row]:
        """Flatten the summary: one row per point, one column per number.

        An estimate ``e`` becomes ``e``, ``e_low``, ``e_high``, ``e_n``, ``e_unit`` and ``e_method``,
        and ``e_reason`` where it is undefined; a class's are ``sensitivity[covid-19]``; a cell of
        the confusion matrix is ``confusion[true→predicted]``. A comparison of downsizing first with
        not is ``accuracy_minus[full]`` in the row of the downsized point. Columns of the study as a
        whole are repeated in each row. ``fp32_`` columns, in the row of pristine, are there where the study
        ran in another precision. NaN stays NaN.
        """
        study = _study(self)
        rows = {point.point: study | _point(point, self.labels) for point in self.points}
        if self.in_fp32 and PRISTINE in rows:
            rows[PRISTINE] |= _in_fp32(self.in_fp32)
        for one in (c for c in self.comparisons if c.small in rows):
            rows[one.small] |= one.difference.columns("accuracy_minus", of=f"[{one.full}]")
        return list(rows.values())

    def to_polars(self) -> pl.DataFrame:
        """Return :meth:`rows` as a DataFrame: a row per point, every number with its limits."""
        import polars as pl

        rows = self.rows()
        columns = dict.fromkeys(name for row in rows for name in row)
        return pl.DataFrame(
            {name: pl.Series([row.get(name) for row in rows], strict=False) for name in columns}
        )

    def to_pandas(self) -> Any:
        """Return :meth:`rows` as a pandas DataFrame; raises ``MissingBackendError`` without pandas."""
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingBackendError(f"pandas is not installed: pip install pandas ({error})") from error
        return pd.DataFrame(self.rows())

    def __iter__(self) -> Iterator[PointSummary]:
        """Iterate over the points, pristine first."""
        return iter(self.points)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole as JSON values: NaN as None, infinity as ``"inf"``."""
        plain: dict[str, Any] = _plain(self)
        return plain


def like_ratio_pairs(
    full: Sequence[PointSummary], small: Sequence[PointSummary]
) -> list[tuple[PointSummary, PointSummary]]:
    """Choose the points at which to compare two chains: file ratios less than 15 % apart.

    Returns
    -------
    list of tuple
        At most two pairs. First the strongest at which at least one of the two is, as observed,
        within 5 points of pristine: where both have collapsed, the better one is of no use. Then
        the strongest of all, if it is another.
    """
    pairs = [(a, b) for a in full for b in small if _ratios_apart(a, b) < math.log(LIKE_RATIO)]
    useful = [pair for pair in pairs if any(p.accuracy_difference.value >= -USEFUL_LOSS for p in pair)]
    # The strongest of the first chain decides; among its partners, the one nearest in ratio.
    chosen = [
        max(some, key=lambda pair: (pair[0].ratio, -_ratios_apart(*pair))) for some in (useful, pairs) if some
    ]
    return chosen[:1] if chosen[:1] == chosen[1:] else chosen


def _ratios_apart(a: PointSummary, b: PointSummary) -> float:
    """Return the absolute logarithm of one file ratio over the other; infinity if one is unknown."""
    known = a.ratio > 0 and b.ratio > 0 and a.n_ok and b.n_ok
    return abs(math.log(a.ratio / b.ratio)) if known else math.inf


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        found: dict[str, Any] = {}
        for field_ in fields(value):
            item = _plain(getattr(value, field_.name))
            found |= item if field_.name == _ESTIMATES else {field_.name: item}  # beside the other columns
        return found
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else f"{value}"
    return value


def _study(summary: Summary) -> Row:
    row: Row = {
        "model": summary.model,
        "level": summary.level,
        "resampling_unit": summary.resampling_unit,
        "n_cases": summary.n_cases,
        "n_planned": summary.n_planned,
        "n_patients": summary.n_patients,
        "n_failed_cases": summary.n_failed_cases,
        "n_lossy_sources": summary.n_lossy_sources,
    }
    row |= {f"case_format[{name}]": count for name, count in summary.case_formats.items()}
    return row | {f"failures[{reason}]": count for reason, count in summary.failures.items()}


def _in_fp32(found: InFp32) -> Row:
    row = {"fp32_n": found.n, "fp32_largest_gap": found.largest_gap}
    row |= found.accuracy.columns("fp32_accuracy")
    row |= found.accuracy_difference.columns("fp32_accuracy_difference")
    return row | {f"fp32_flips_{name}": getattr(found.flips, name) for name in _FLIP_COUNTS}


def _point(point: PointSummary, labels: Sequence[str]) -> Row:
    row: Row = {name: getattr(point, name) for name in _NAMES}
    for name, found in point.estimates.items():
        row |= found.columns(name)
    row |= {f"flips_{name}": getattr(point.flips, name) for name in _FLIP_COUNTS}
    row |= {name: getattr(point.flips, name) for name in _P_VALUE}
    row |= point.flips.share.columns("flips_share")
    row |= point.flips.harmful_share.columns("flips_harmful_share")
    row |= {name: getattr(point, name) for name in _MEASURED}
    for one in point.classes:
        row |= _class(one)
    for true, counts in zip(labels, point.confusion, strict=True):
        row |= {f"confusion[{true}→{name}]": count for name, count in zip(labels, counts, strict=True)}
    return row


def _class(one: ClassSummary) -> Row:
    row: Row = {f"n[{one.label}]": one.n}
    for name, found in one.estimates.items():
        row |= found.columns(name, of=f"[{one.label}]")
    return row
