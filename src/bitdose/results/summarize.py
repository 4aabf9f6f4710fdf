"""From the results table to the summary: metrics, intervals, flips and rates of every point."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from bitdose.errors import BitdoseError, UsageError
from bitdose.results.arms import Design, Reference, answers_at, make_design, whole_arm
from bitdose.results.estimates import accuracy_difference
from bitdose.results.points import summarize_point
from bitdose.results.precision import compare_with_fp32
from bitdose.results.schema import OK, PRISTINE
from bitdose.results.summary import Comparison, Summary, like_ratio_pairs
from bitdose.results.table import labels_of

if TYPE_CHECKING:
    import polars as pl


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
    design = make_design(cases, labels, level=level, draws=draws, seed=seed)
    by_point = {str(key[0]): rows for key, rows in table.partition_by("point", as_dict=True).items()}
    reference = Reference(design, answers_at(by_point.get(PRISTINE), design))
    points = [summarize_point(rows, reference) for rows in by_point.values()]
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


def _comparisons(
    summary: Summary, by_point: dict[str, pl.DataFrame], design: Design
) -> tuple[Comparison, ...]:
    """Compare downsizing first with not, on the cases classified at both points."""
    found = []
    for full, small in (pair for chains in summary.downsizings() for pair in like_ratio_pairs(*chains)):
        before, after = (answers_at(by_point[one.point], design) for one in (full, small))
        now, then = Reference(design, before).pair(whole_arm(design, after))
        found.append(Comparison(full.point, small.point, accuracy_difference(now, then)))
    return tuple(found)


def _failures(failed: pl.DataFrame) -> dict[str, int]:
    per_case = failed.unique(["case_id", "status", "reason"], maintain_order=True)
    reasons = (f"{status}: {reason}" for status, reason in per_case.select("status", "reason").iter_rows())
    return dict(Counter(reasons).most_common())


def _counts(cases: pl.DataFrame, column: str) -> dict[str, int]:
    known = cases.filter(cases[column].is_not_null())
    return dict(Counter(known[column].to_list()).most_common())
