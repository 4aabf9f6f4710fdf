"""From the results table to the summary: metrics, intervals, flips and rates of every point.

Proportions take Wilson's interval and paired differences Tango's. Where patients have several
cases both take the effective sample size (``stats/clusters.py``). F1 takes a bootstrap over
patients, the same draw for all points; AUROC takes DeLong's interval over cases.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import BitdoseError, UsageError
from bitdose.hashing import rng_for
from bitdose.metrics import classification as metric
from bitdose.metrics.rate import mean_ratio, rate_bpp, total_ratio
from bitdose.results.schema import OK, PRISTINE, PROBABILITY_PREFIX
from bitdose.results.summary import (
    ClassSummary,
    Comparison,
    Flips,
    PointSummary,
    Summary,
    like_ratio_pairs,
)
from bitdose.results.table import labels_of
from bitdose.stats.bootstrap import patient_draws, percentile_interval, resampled_counts
from bitdose.stats.clusters import clustered_tango, clustered_wilson
from bitdose.stats.delong import delong
from bitdose.stats.estimate import Estimate, undefined
from bitdose.stats.proportions import mcnemar_midp, tango, wilson

if TYPE_CHECKING:
    import polars as pl

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class _Paired:
    """One point's ok cases as arrays, with the answers the same cases got at another point, -1 if none."""

    cases: Ints
    true: Ints
    predicted: Ints
    before: Ints


@dataclass(frozen=True)
class _Design:
    """What all points share: classes, cases, bootstrap draws."""

    labels: tuple[str, ...]
    level: float
    weights: Ints
    patient_of_case: Ints
    clustered: bool
    n_cases: int

    @property
    def unit(self) -> str:
        return "patient" if self.clustered else "case"


def summarize(
    table: pl.DataFrame, *, level: float = 0.95, draws: int = 2000, seed: int = 0, n_planned: int = 0
) -> Summary:
    """Summarise one classifier's results.

    Parameters
    ----------
    table : polars.DataFrame
        Results of one model, columns as in ``schema.py``.
    level : float
        Confidence level of every interval.
    draws : int
        Bootstrap samples.
    seed : int
        Seed of the bootstrap, with the names of the cases.
    n_planned : int
        Cases that the study set out to run; 0 where that is not known.

    Raises
    ------
    UsageError
        If the table holds several models.
    BitdoseError
        If no row is ok.
    """
    import polars as pl

    models = table["model"].unique().to_list()
    if len(models) > 1:
        raise UsageError(f"expected results of one model, got {len(models)}: {', '.join(map(str, models))}")
    failed = table.filter(table["status"] != OK)
    if len(failed) == len(table):
        raise BitdoseError(
            f"no case was classified; first reason: {failed['reason'][0] if len(failed) else 'no rows'}"
        )
    labels = labels_of(table)
    ranked = {chain: rank for rank, chain in enumerate(table["codec_chain"].unique(maintain_order=True))}
    # Sorted, so that neither draws nor the last digit of a sum depend on the order of the rows.
    table = table.with_columns(pl.col("case_patient").fill_null(pl.col("case_id"))).sort("case_id", "point")
    cases = table.unique("case_id", keep="first", maintain_order=True)
    ids = {case: index for index, case in enumerate(cases["case_id"].to_list())}
    design = _design(cases, labels, level, draws, seed)
    by_point = {str(key[0]): rows for key, rows in table.partition_by("point", as_dict=True).items()}
    reference = _answers_at(by_point.get(PRISTINE), ids, labels)
    points = [_point(rows, ids, reference, design) for rows in by_point.values()]
    points.sort(key=lambda p: (p.chain != PRISTINE, ranked[p.chain], p.strength))
    summary = Summary(
        model=str(models[0] or "") if models else "",
        labels=labels,
        n_cases=len(ids),
        n_patients=design.weights.shape[1],
        n_failed_cases=failed["case_id"].n_unique(),
        level=level,
        resampling_unit=design.unit,
        points=tuple(points),
        failures=_failures(failed),
        case_formats=_counts(cases, "case_format"),
        n_planned=n_planned,
        n_lossy_sources=int(cases["case_lossy"].fill_null(value=False).sum()),
    )
    return replace(summary, comparisons=_comparisons(summary, by_point, ids, design))


def _design(cases: pl.DataFrame, labels: tuple[str, ...], level: float, draws: int, seed: int) -> _Design:
    patients, truth = cases["case_patient"].to_list(), cases["case_label"].to_list()
    weights, patient_of_case = patient_draws(
        patients, truth, draws=draws, rng=rng_for(seed, "patient-bootstrap", *cases["case_id"].to_list())
    )
    clustered = weights.shape[1] < len(cases)
    return _Design(labels, level, weights, patient_of_case, clustered, len(cases))


def _answers_at(rows: pl.DataFrame | None, ids: dict[str, int], labels: tuple[str, ...]) -> Ints:
    answers = np.full(len(ids), -1, np.int64)
    if rows is not None:
        ok = rows.filter(rows["status"] == OK)
        answers[[ids[c] for c in ok["case_id"]]] = _indices(ok["predicted"], labels)
    return answers


def _comparisons(
    summary: Summary, by_point: dict[str, pl.DataFrame], ids: dict[str, int], design: _Design
) -> tuple[Comparison, ...]:
    """Compare downsizing first with not, on the cases classified at both points."""
    found = []
    for full, small in (pair for chains in summary.downsizings() for pair in like_ratio_pairs(*chains)):
        before = _answers_at(by_point[full.point], ids, design.labels)
        rows = by_point[small.point].filter(by_point[small.point]["status"] == OK)
        difference = _accuracy_difference(_seen_before(_paired(rows, ids, before, design)), design)
        found.append(Comparison(full.point, small.point, difference))
    return tuple(found)


def _paired(ok: pl.DataFrame, ids: dict[str, int], reference: Ints, design: _Design) -> _Paired:
    cases = np.array([ids[case] for case in ok["case_id"]], np.int64)
    true, predicted = _indices(ok["case_label"], design.labels), _indices(ok["predicted"], design.labels)
    return _Paired(cases, true, predicted, reference[cases])


def _point(rows: pl.DataFrame, ids: dict[str, int], reference: Ints, design: _Design) -> PointSummary:
    ok = rows.filter(rows["status"] == OK)
    paired = _paired(ok, ids, reference, design)
    true, predicted = paired.true, paired.predicted
    confusion = metric.confusion_matrix(true, predicted, len(design.labels))
    samples = _bootstrap_confusions(paired, predicted, design)
    first = rows.row(0, named=True)
    return PointSummary(
        point=first["point"],
        chain=first["codec_chain"],
        codec=first["codec_name"] or first["point"].split(":")[0],
        quality=first["codec_quality"],
        strength=first["codec_strength"],
        size=first["codec_size"] or "",
        n_ok=len(ok),
        n_failed=len(rows) - len(ok),
        accuracy=_share(predicted == true, true >= 0, paired, "classified case", design),
        macro_f1=_macro_f1(confusion, samples, design),
        accuracy_difference=_accuracy_difference(_seen_before(paired), design),
        macro_f1_difference=_macro_f1_difference(_seen_before(paired), design),
        classes=_classes(ok, paired, samples, design),
        confusion=tuple(tuple(map(int, row)) for row in confusion),
        flips=_flips(paired, design),
        **vars(_rates(ok)),
        psnr_db=_mean_psnr_db(ok),
        ssim=_number(ok["ssim"].drop_nans().mean()),
        encode_ms=_number(ok["encode_ms"].median()),
        decode_ms=_number(ok["decode_ms"].median()),
    )


def _bootstrap_confusions(paired: _Paired, predicted: Ints, design: _Design) -> Ints:
    """Confusion matrices of every draw, ``(draws, K, K)``."""
    k = len(design.labels)
    per_case = np.zeros((design.n_cases, k * k), np.int64)
    per_case[paired.cases, paired.true * k + predicted] = 1
    counts = resampled_counts(per_case, design.weights, design.patient_of_case)
    return counts.reshape(-1, k, k)


def _boot(value: float, samples: NDArray[np.float64], reason: str, design: _Design) -> Estimate:
    n = design.weights.shape[1]
    return percentile_interval(value, samples, n=n, level=design.level, reason=reason, unit=design.unit)


def _share(hits: Bools, among: Bools, paired: _Paired, what: str, design: _Design) -> Estimate:
    """Share of hits among some of a point's cases."""
    hit = hits[among]
    if design.clustered:
        patients = design.patient_of_case[paired.cases[among]]
        return clustered_wilson(hit, patients, level=design.level, what=what)
    return wilson(int(hit.sum()), hit.size, level=design.level, what=what)


def _macro_f1(confusion: Ints, samples: Ints, design: _Design) -> Estimate:
    value = float(metric.macro_f1(confusion))
    return _boot(value, metric.macro_f1(samples), _absent(confusion, design.labels), design)


def _absent(confusion: Ints, labels: tuple[str, ...]) -> str:
    missing = [label for label, row in zip(labels, confusion, strict=True) if not row.sum()]
    return f"no case of class {', '.join(map(repr, missing))}" if missing else ""


def _seen_before(paired: _Paired) -> _Paired:
    """Keep the cases that were classified at the other point too."""
    both = paired.before >= 0
    return _Paired(paired.cases[both], paired.true[both], paired.predicted[both], paired.before[both])


def _macro_f1_difference(pairs: _Paired, design: _Design) -> Estimate:
    """Coded minus pristine, the same draws for both."""
    k = len(design.labels)
    if not pairs.true.size:
        return undefined("no case classified here and pristine", level=design.level, unit=design.unit)
    now, then = (metric.confusion_matrix(pairs.true, p, k) for p in (pairs.predicted, pairs.before))
    spread = [
        metric.macro_f1(_bootstrap_confusions(pairs, p, design)) for p in (pairs.predicted, pairs.before)
    ]
    value = float(metric.macro_f1(now) - metric.macro_f1(then))
    return _boot(value, spread[0] - spread[1], _absent(now, design.labels), design)


def _accuracy_difference(pairs: _Paired, design: _Design) -> Estimate:
    right_now, right_then = pairs.predicted == pairs.true, pairs.before == pairs.true
    gained, lost = right_now & ~right_then, ~right_now & right_then
    if design.clustered:
        patients = design.patient_of_case[pairs.cases]
        return clustered_tango(gained, lost, patients, level=design.level)
    return tango(int(gained.sum()), int(lost.sum()), gained.size, level=design.level)


def _classes(ok: pl.DataFrame, paired: _Paired, samples: Ints, design: _Design) -> tuple[ClassSummary, ...]:
    f1_samples, found = metric.f1_score(samples), []
    f1 = metric.f1_score(metric.confusion_matrix(paired.true, paired.predicted, len(design.labels)))
    for c, label in enumerate(design.labels):
        is_class, called = paired.true == c, paired.predicted == c
        found.append(
            ClassSummary(
                label=label,
                n=int(is_class.sum()),
                sensitivity=_share(called, is_class, paired, f"case of class {label!r}", design),
                specificity=_share(~called, ~is_class, paired, f"case outside class {label!r}", design),
                precision=_share(is_class, called, paired, f"answer {label!r}", design),
                f1=_boot(float(f1[c]), f1_samples[:, c], f"no case of class {label!r}", design),
                auroc=_auroc(ok, is_class, label, design),
            )
        )
    return tuple(found)


def _auroc(ok: pl.DataFrame, positive: NDArray[np.bool_], label: str, design: _Design) -> Estimate:
    column = PROBABILITY_PREFIX + label
    if column not in ok.columns:
        return undefined("the table has no probabilities", level=design.level)
    return delong(positive, ok[column].to_numpy(), level=design.level)


def _flips(paired: _Paired, design: _Design) -> Flips:
    seen = _seen_before(paired)
    now, then, true = seen.predicted, seen.before, seen.true
    changed, harmful = int((now != then).sum()), int(((then == true) & (now != true)).sum())
    healed, n = int(((then != true) & (now == true)).sum()), now.size
    return Flips(
        n=n,
        changed=changed,
        right_to_wrong=harmful,
        wrong_to_right=healed,
        wrong_to_wrong=changed - harmful - healed,
        share=_share(now != then, true >= 0, seen, "paired case", design),
        harmful_share=_share((then == true) & (now != true), true >= 0, seen, "paired case", design),
        mcnemar_midp=mcnemar_midp(healed, harmful) if n and not design.clustered else float("nan"),
    )


@dataclass(frozen=True)
class _Rates:
    ratio_pixels: float
    ratio_file: float
    ratio_pixels_mean: float
    ratio_file_mean: float
    coded_bytes_per_case: float
    rate_bpp: float


def _rates(ok: pl.DataFrame) -> _Rates:
    coded, pixels = ok["bytes_coded"].to_numpy(), ok["bytes_pixels"].to_numpy()
    file = ok["bytes_file"].to_numpy()
    samples = (ok["case_height"] * ok["case_width"] * ok["case_slices"]).to_numpy()
    known = ok["case_height"].null_count() == 0
    return _Rates(
        ratio_pixels=total_ratio(pixels, coded),
        ratio_file=total_ratio(file, coded),
        ratio_pixels_mean=mean_ratio(pixels, coded),
        ratio_file_mean=mean_ratio(file, coded),
        coded_bytes_per_case=float(np.mean(coded)) if len(ok) else float("nan"),
        rate_bpp=rate_bpp(coded, samples) if known else float("nan"),
    )


def _mean_psnr_db(ok: pl.DataFrame) -> float:
    psnr = ok["psnr_db"].drop_nulls()
    finite = psnr.filter(psnr.is_finite())
    return _number(finite.mean()) if len(finite) else _number(psnr.max())


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _indices(column: pl.Series, labels: tuple[str, ...]) -> Ints:
    index = {label: i for i, label in enumerate(labels)}
    unknown = set(column.unique().to_list()) - set(index)
    if unknown:
        raise UsageError(f"results: labels {sorted(map(str, unknown))} are none of {list(labels)}")
    return np.array([index[value] for value in column.to_list()], np.int64)


def _failures(failed: pl.DataFrame) -> dict[str, int]:
    per_case = failed.unique(["case_id", "status", "reason"], maintain_order=True)
    reasons = (f"{status}: {reason}" for status, reason in per_case.select("status", "reason").iter_rows())
    return dict(Counter(reasons).most_common())


def _counts(cases: pl.DataFrame, column: str) -> dict[str, int]:
    known = cases.filter(cases[column].is_not_null())
    return dict(Counter(known[column].to_list()).most_common())
