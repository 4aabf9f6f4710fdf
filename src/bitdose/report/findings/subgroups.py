"""Which cases fare how, by subgroup, and which of them failed, from the results table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bitdose.report.findings.chosen_points import default_points
from bitdose.report.findings.flips import of_model
from bitdose.results import subgroups as results
from bitdose.results.schema import OK
from bitdose.results.subgroups import UNKNOWN, Subgroup
from bitdose.results.summary import Summary

__all__ = ["Failure", "Subgroup", "failures", "subgroups"]

if TYPE_CHECKING:
    from polars import DataFrame, Expr


@dataclass(frozen=True)
class Failure:
    """What failed and why: the cases and rows it took, and one case as an example."""

    status: str
    reason: str
    n_cases: int
    n_rows: int
    example: str


def subgroups(table: DataFrame, summary: Summary, points: Sequence[str] | None = None) -> list[Subgroup]:
    """Read accuracy and its loss off the table by source format, history and further columns.

    Parameters
    ----------
    table : polars.DataFrame
        Results in the schema of :mod:`bitdose.results.schema`.
    summary : Summary
        Of the same table.
    points : sequence of str, optional
        Points in their text form; ``default_points`` where not given.
    """
    chosen = default_points(summary) if points is None else points
    own = of_model(table, summary)
    return results.subgroups(own, chosen, labels=summary.labels, level=summary.level)


def failures(table: DataFrame, summary: Summary) -> list[Failure]:
    """Count failed rows by status and reason, the most cases first."""
    import polars as pl

    rows = of_model(table, summary).filter(pl.col("status") != OK)
    case = pl.col("case_id").cast(pl.String)
    groups = (
        rows.with_columns(status=_text(rows, "status"), why=_text(rows, "reason"))
        .group_by("status", "why")
        .agg(case.n_unique().alias("n_cases"), pl.len().alias("n_rows"), case.min().alias("example"))
        .sort("n_cases", "status", "why", descending=[True, False, False])
    )
    columns = ("status", "why", "n_cases", "n_rows", "example")
    return [Failure(*row) for row in groups.select(columns).iter_rows()]


def _text(rows: DataFrame, column: str) -> Expr:
    import polars as pl

    if column not in rows.columns:
        return pl.lit(UNKNOWN)
    return pl.col(column).cast(pl.String).fill_null(UNKNOWN)
