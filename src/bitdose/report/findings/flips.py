"""Which cases answered differently once coded, and where along its chain each did so first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitdose.results.schema import OK, PRISTINE, PROBABILITY_PREFIX
from bitdose.results.summary import Summary

if TYPE_CHECKING:
    from polars import DataFrame

RIGHT_TO_WRONG = "right to wrong"
WRONG_TO_RIGHT = "wrong to right"
WRONG_TO_WRONG = "wrong to wrong"


@dataclass(frozen=True)
class FlippedCase:
    """One case whose answer changed, told by the weakest compression that changed it.

    ``rank`` counts the points of ``chain`` up to ``point``, the weakest being 0;
    ``n_changed`` of ``n_points`` coded points answer otherwise than pristine.
    """

    case_id: str
    label: str
    kind: str
    pristine_answer: str
    chain: str
    point: str
    rank: int
    answer: str
    probability: float
    ratio_file: float
    n_changed: int
    n_points: int


def of_model(table: DataFrame, summary: Summary) -> DataFrame:
    """Keep the rows of the summary's classifier where the table holds several."""
    import polars as pl

    if "model" not in table.columns or table["model"].n_unique() < 2:  # noqa: PLR2004 -- several
        return table
    own = table.filter(pl.col("model") == summary.model)
    return own if own.height else table


def flipped_cases(table: DataFrame, summary: Summary) -> list[FlippedCase]:
    """Return each case whose answer changed, harmful flips first, then the earliest first.

    Parameters
    ----------
    table : polars.DataFrame
        Results in the schema of :mod:`bitdose.results.schema`.
    summary : Summary
        Of the same table: it says which points make a chain, and in which order.

    Returns
    -------
    list of FlippedCase
        One per case, by kind, rank along the chain, order of the chains and case id.
    """
    import polars as pl

    changed = _changed(of_model(table, summary), summary)
    if changed.is_empty():
        return []
    order = ["harmless", "rank", "order", "case_id"]
    # A case that was right is harmed by its first flip; one that was wrong can also gain.
    firsts = changed.sort(order).unique("case_id", keep="first", maintain_order=True)
    counts = changed.group_by("case_id").agg(pl.len().alias("n_changed"))
    rows = firsts.join(counts, on="case_id", how="left").sort(order)
    return [_case(row) for row in rows.iter_rows(named=True)]


def _changed(table: DataFrame, summary: Summary) -> DataFrame:
    """Return the rows whose answer is not the pristine one, with their place in the chain."""
    import polars as pl

    places = [
        {"point": p.point, "chain": chain, "rank": rank, "order": place}
        for place, (chain, points) in enumerate(summary.chains().items())
        for rank, p in enumerate(points)
    ]
    schema = {"point": pl.String, "chain": pl.String, "rank": pl.Int64, "order": pl.Int64}
    keep = ["case_id", "case_label", "point", "predicted", "bytes_file", "bytes_coded"]
    keep += [name for name in table.columns if name.startswith(PROBABILITY_PREFIX)]
    texts = pl.col("case_id", "case_label", "point", "predicted").cast(pl.String)
    ok = table.filter(pl.col("status") == OK).select(keep).with_columns(texts)
    pristine = ok.filter(pl.col("point") == PRISTINE).select("case_id", pristine_answer="predicted")
    coded = ok.join(pristine, on="case_id").join(pl.DataFrame(places, schema=schema), on="point")
    counts = coded.group_by("case_id").agg(pl.len().alias("n_points"))
    was_right, is_right = (pl.col(name) == pl.col("case_label") for name in ("pristine_answer", "predicted"))
    kind = (
        pl.when(was_right)
        .then(pl.lit(RIGHT_TO_WRONG))
        .otherwise(pl.when(is_right).then(pl.lit(WRONG_TO_RIGHT)).otherwise(pl.lit(WRONG_TO_WRONG)))
    )
    return (
        coded.filter(pl.col("predicted") != pl.col("pristine_answer"))
        .with_columns(kind.alias("kind"), (~was_right).alias("harmless"))
        .join(counts, on="case_id", how="left")
    )


def _case(row: dict[str, Any]) -> FlippedCase:
    return FlippedCase(
        case_id=row["case_id"],
        label=row["case_label"],
        kind=row["kind"],
        pristine_answer=row["pristine_answer"],
        chain=row["chain"],
        point=row["point"],
        rank=row["rank"],
        answer=row["predicted"],
        probability=number(row.get(PROBABILITY_PREFIX + row["predicted"])),
        ratio_file=ratio(row["bytes_file"], row["bytes_coded"]),
        n_changed=row["n_changed"],
        n_points=row["n_points"],
    )


def number(value: float | None) -> float:
    """Return a cell as a float, NaN where it is null."""
    return float("nan") if value is None else float(value)


def ratio(whole_bytes: int | None, coded_bytes: int | None) -> float:
    """Return bytes over bytes; NaN where either is missing or nothing was coded."""
    return whole_bytes / coded_bytes if whole_bytes and coded_bytes else float("nan")
