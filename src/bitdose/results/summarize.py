"""From the results table to the summary: metrics, intervals, flips and rates of every point."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from bitdose.errors import BitdoseError, UsageError
from bitdose.results.conditions import Design, PristineReference, add_up, make_design, whole_condition
from bitdose.results.estimates import accuracy_difference
from bitdose.results.fp32_check import compare_with_fp32
from bitdose.results.point_summary import Compared, compare_point, summarize_point
from bitdose.results.schema import OK, PRISTINE, PROBABILITY_PREFIX
from bitdose.results.summary import Comparison, PointSummary, Summary, like_ratio_pairs
from bitdose.results.table import labels_of

if TYPE_CHECKING:
    import polars as pl

_TOGETHER = 10
_OF_CASE = ("case_id", "case_label", "case_patient", "case_format", "case_lossy")
_MEASURED = frozenset({
    "point", "codec_name", "codec_chain", "codec_quality", "codec_strength", "codec_size", "case_height",
    "case_width", "case_slices", "bytes_file", "bytes_pixels", "bytes_coded", "encode_ms", "decode_ms",
    "psnr_db", "ssim", "predicted", "status", "fp32_predicted", "fp32_gap",
})  # fmt: skip


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
    cases, by_point = _cases_and_points(table)
    design = make_design(cases, labels, level=level, draws=draws, seed=seed)
    reference = PristineReference(design, by_point.get(PRISTINE))
    points = _points([compare_point(rows, reference) for rows in by_point.values()])
    points.sort(key=lambda p: (p.chain != PRISTINE, ranked[p.chain], p.strength))
    summary = Summary(
        model=str(models[0] or "") if models else "",
        labels=labels,
        n_cases=len(cases),
        n_patients=design.n_patients,
        n_failed_cases=failed["case_id"].n_unique(),
        level=level,
        resampling_unit=design.unit,
        points=tuple(points),
        failures=_failures(failed),
        case_formats=_counts(cases, "case_format"),
        n_planned=n_planned,
        in_fp32=compare_with_fp32(by_point.get(PRISTINE), reference),
        n_lossy_sources=int(cases["case_lossy"].fill_null(value=False).sum()),
    )
    return replace(summary, comparisons=_comparisons(summary, by_point, design))


def _points(compared: list[Compared]) -> list[PointSummary]:
    """Summarise points, some at a time: those that share a product with the draws."""
    points: list[PointSummary] = []
    while compared:
        together, compared = compared[:_TOGETHER], compared[_TOGETHER:]
        add_up([each.condition for each in together])
        points += [summarize_point(each) for each in together]
    return points


def _cases_and_points(table: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """Return one row per case, and the rows of each point, both in the order of the cases' ids.

    Sorted, so that neither draws nor the last digit of a sum depend on the order of the rows; only the
    columns that are read here, since a table of a million rows fills much of a small machine.
    """
    import polars as pl

    measured = [c for c in table.columns if c in _MEASURED or c.startswith(PROBABILITY_PREFIX)]
    patient = pl.col("case_patient").fill_null(pl.col("case_id"))
    rows = table.select(*_OF_CASE, *measured).with_columns(patient)
    if not rows["case_id"].is_sorted():
        rows = rows.sort("case_id", "point")
    by_point = {str(key[0]): part for key, part in rows.partition_by("point", as_dict=True).items()}
    names = sorted(by_point)
    everyone = rows["case_id"].n_unique()
    if names and len(by_point[names[0]]) == everyone:  # as a rule: a case is there at every point
        cases = by_point[names[0]].select(_OF_CASE)
    else:
        in_order = rows.select(*_OF_CASE, "point").sort("case_id", "point")
        cases = in_order.unique("case_id", keep="first", maintain_order=True)
    return cases, {name: by_point[name] for name in names}


def _comparisons(
    summary: Summary, by_point: dict[str, pl.DataFrame], design: Design
) -> tuple[Comparison, ...]:
    """Compare downsizing first with not, on the cases classified at both points."""
    found = []
    for full, small in (pair for chains in summary.downsizings() for pair in like_ratio_pairs(*chains)):
        before, after = (by_point[one.point] for one in (full, small))
        now, then = PristineReference(design, before).pair(whole_condition(design, after))
        found.append(Comparison(full.point, small.point, accuracy_difference(now, then)))
    return tuple(found)


def _failures(failed: pl.DataFrame) -> dict[str, int]:
    per_case = failed.unique(["case_id", "status", "reason"], maintain_order=True)
    reasons = (f"{status}: {reason}" for status, reason in per_case.select("status", "reason").iter_rows())
    return dict(Counter(reasons).most_common())


def _counts(cases: pl.DataFrame, column: str) -> dict[str, int]:
    known = cases.filter(cases[column].is_not_null())
    return dict(Counter(known[column].to_list()).most_common())
