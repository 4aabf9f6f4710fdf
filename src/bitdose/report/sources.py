"""Where the cases came from and which of them failed, counted from the results table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bitdose.report.flips import of_model
from bitdose.results.schema import OK, PRISTINE
from bitdose.results.summary import Summary

if TYPE_CHECKING:
    from polars import DataFrame, Expr

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Subgroup:
    """Cases that share a source format and a compression history, and their pristine answers."""

    case_format: str
    lossy: str
    n_cases: int
    n_ok: int
    n_right: int


@dataclass(frozen=True)
class Failure:
    """What failed and why: the cases and rows it took, and one case as an example."""

    status: str
    reason: str
    n_cases: int
    n_rows: int
    example: str


def subgroups(table: DataFrame, summary: Summary) -> list[Subgroup]:
    """Count cases and right answers at pristine per source format and history.

    A column that the table does not have, or a null in it, reads ``unknown``.
    """
    import polars as pl

    rows = of_model(table, summary).filter(pl.col("point") == PRISTINE)
    lossy = pl.col("case_lossy") if "case_lossy" in rows.columns else pl.lit(None, pl.Boolean)
    words = pl.when(lossy).then(pl.lit("yes")).when(~lossy).then(pl.lit("no")).otherwise(pl.lit(UNKNOWN))
    ok = pl.col("status") == OK
    right = ok & (pl.col("predicted").cast(pl.String) == pl.col("case_label").cast(pl.String))
    groups = (
        rows.with_columns(form=_text(rows, "case_format"), lossy=words)
        .group_by("form", "lossy")
        .agg(pl.len().alias("n"), ok.sum().alias("n_ok"), right.sum().alias("n_right"))
        .sort("form", "lossy")
    )
    return [Subgroup(*row) for row in groups.select("form", "lossy", "n", "n_ok", "n_right").iter_rows()]


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
