"""Read, check and merge results tables; knows no engine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitdose.errors import UsageError
from bitdose.hashing import digest
from bitdose.results.schema import COLUMNS, PROBABILITY_PREFIX, SCHEMA_VERSION

if TYPE_CHECKING:
    import polars as pl

PARTS = "results"
CASES_DIGEST = "cases_digest"  # the manifest's key of what cases_digest gives
_META_VERSION = "bitdose_schema_version"
_CASE = ["case_id", "model"]


def rows_to_table(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Make a table of rows, with every schema column present and typed.

    Parameters
    ----------
    rows : iterable of dict
        Each a row; columns that a row lacks are null.
    """
    import polars as pl

    listed = list(rows)
    names = dict.fromkeys([*COLUMNS, *(name for row in listed for name in row)])
    data = {name: [row.get(name) for row in listed] for name in names}
    types = _polars_types()
    return pl.DataFrame(
        [
            pl.Series(name, values, dtype=types.get(name) or _extra_type(name, values), strict=False)
            for name, values in data.items()
        ]
    )


def write_part(table: pl.DataFrame, path: Path) -> None:
    """Write one Parquet part with its schema version; atomic and durable (tmp, fsync, rename)."""
    import os

    import pyarrow.parquet as pq

    arrow = table.to_arrow()
    metadata = {**(arrow.schema.metadata or {}), _META_VERSION.encode(): str(SCHEMA_VERSION).encode()}
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        pq.write_table(arrow.replace_schema_metadata(metadata), file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_table(source: Path) -> pl.DataFrame:
    """Read a results table: a run folder, a folder of parts, one Parquet file or a CSV.

    Cases that stand in two parts (a kill between two steps of the store can leave that) count
    once. Rows come in the order of case id, chain as first named, strength.

    Raises
    ------
    UsageError
        If there is none, it lacks a required column, or a newer BitDose wrote it.
    """
    folder = source / PARTS if (source / PARTS).is_dir() else source
    if folder.is_dir():
        parts = sorted(folder.glob("*.parquet"))
        if not parts:
            raise UsageError(f"{source}: no results (no Parquet part in {folder.name}/)")
        return merge_tables([_read_part(part) for part in parts])
    if not source.is_file():
        raise UsageError(f"{source}: no such run folder or results table")
    return merge_tables([_read_part(source)])


def merge_tables(tables: list[pl.DataFrame]) -> pl.DataFrame:
    """Put tables together: a case of an earlier table wins over the same case in a later one.

    A case is one ``case_id`` of one ``model``.
    """
    import polars as pl

    tables = list(tables)

    numbered = enumerate(tables)
    cases = pl.concat([t.select(_CASE).unique().with_columns(_table=pl.lit(n)) for n, t in numbered])
    later = pl.col("_table") > pl.col("_table").min().over(_CASE)
    again = cases.filter(pl.struct(_CASE).is_duplicated() & later)
    for number, twice in again.partition_by("_table", as_dict=True).items():
        place = int(number[0])
        tables[place] = tables[place].join(twice, on=_CASE, how="anti", nulls_equal=True)
    return _in_order(tables)


def labels_of(table: pl.DataFrame) -> tuple[str, ...]:
    """Return the classifier's labels, in the order of the probability columns."""
    labels = [c.removeprefix(PROBABILITY_PREFIX) for c in table.columns if c.startswith(PROBABILITY_PREFIX)]
    if labels:
        return tuple(labels)
    # A table without probabilities: the classes that occur, in alphabetical order.
    seen = {*table["case_label"].to_list(), *table["predicted"].to_list()} - {None}
    return tuple(sorted(seen))


def _read_part(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        if path.suffix.lower() == ".csv":
            # As text and truth from the start: inference would read the case id 007 as 7.
            kinds = {k: v for k, v in _polars_types().items() if v in (pl.String, pl.Boolean)}
            table = pl.read_csv(path, infer_schema_length=None, schema_overrides=kinds)
        else:
            import pyarrow.parquet as pq

            version = int((pq.read_schema(path).metadata or {}).get(_META_VERSION.encode(), b"1"))
            if version > SCHEMA_VERSION:
                raise UsageError(
                    f"{path.name}: schema version {version}, this BitDose reads up to {SCHEMA_VERSION}; "
                    "upgrade it"
                )
            table = pl.read_parquet(path, glob=False)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise UsageError(f"results {path.name}: not readable: {str(error).splitlines()[0]}") from error
    return check_table(table, name=path.name)


def check_table(table: pl.DataFrame, *, name: str = "table") -> pl.DataFrame:
    """Return a results table with the schema's types; optional columns that are absent are null.

    Parameters
    ----------
    table : polars.DataFrame
        One row per case, point and classifier.
    name : str
        What a message calls it.

    Raises
    ------
    UsageError
        If a required column is missing, cannot be read as its type, or a row is duplicated.
    """
    import polars as pl

    missing = [key for key, column in COLUMNS.items() if column.required and key not in table.columns]
    if missing:
        raise UsageError(f"results {name}: required columns are missing: {', '.join(missing)}")
    types: Any = {k: v for k, v in _polars_types().items() if k in table.columns}
    try:
        table = table.cast(types, strict=False)
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"results {name}: not readable: {str(error).splitlines()[0]}") from error
    keys = [key for key in ("model", "case_id", "point") if key in table.columns]
    twice = table.select(keys).is_duplicated().sum()
    if twice:
        raise UsageError(f"results {name}: {twice} rows share case, point and model with another row")
    absent = [pl.lit(None, dtype=v).alias(k) for k, v in _polars_types().items() if k not in table.columns]
    return table.with_columns(absent)


def _in_order(tables: list[pl.DataFrame]) -> pl.DataFrame:
    """Put tables below each other in order; empties the list, so that no two copies stand in memory."""
    import polars as pl

    table = pl.concat(tables, how="diagonal_relaxed")
    tables.clear()
    order = {chain: rank for rank, chain in enumerate(table["codec_chain"].unique(maintain_order=True))}
    rank = pl.col("codec_chain").replace_strict(order, default=len(order), return_dtype=pl.Int64)
    table = table.with_columns(pl.col("case_patient").fill_null(pl.col("case_id")))
    keys = ["model", "case_id", rank, "codec_strength", "point"]
    places = table.select(pl.arg_sort_by(keys, nulls_last=True)).to_series()
    there, columns, placed = places.is_sorted(), table.get_columns(), []
    del table
    while columns:  # each given back before the next is copied
        column = columns.pop(0)
        placed.append(column.rechunk() if there else column.gather(places))
    return pl.DataFrame(placed)


def _polars_types() -> dict[str, Any]:
    import polars as pl

    names = {"string": pl.String, "bool": pl.Boolean, "int64": pl.Int64, "double": pl.Float64}
    return {name: names[column.dtype] for name, column in COLUMNS.items()}


def _extra_type(name: str, values: list[Any]) -> Any:
    import polars as pl

    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pl.Float64 if name.startswith(PROBABILITY_PREFIX) else pl.Null  # other parts say what it is
    if name.startswith(PROBABILITY_PREFIX) or kinds in ({float}, {int, float}):
        return pl.Float64
    return {frozenset({int}): pl.Int64, frozenset({bool}): pl.Boolean}.get(frozenset(kinds), pl.String)


def cases_digest(cases: Iterable[tuple[str, str, str, str]]) -> str:
    """Return the SHA-256 of id, label, patient and split of all cases, in whatever order they come."""
    return digest(sorted([text or "" for text in case] for case in cases))
