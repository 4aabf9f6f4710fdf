"""Cases counted by what the results say of them: classes, formats, groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitdose.report.findings.sentences import counted
from bitdose.results.schema import COLUMNS

if TYPE_CHECKING:
    from polars import DataFrame

_MAX_VALUES = 12
_GROUPS = (2, 12)


def counts(rows: DataFrame, column: str, *, unit: str = "case", empty: str = "") -> str:
    """Count rows by the values of a column, the most frequent first; empty text where it has none.

    Parameters
    ----------
    rows : polars.DataFrame
        One row per thing counted.
    column : str
        The column; it need not be there.
    unit : str
        What a row is.
    empty : str
        How an empty text reads; left out where this is empty too.

    Examples
    --------
    >>> import polars as pl
    >>> counts(pl.DataFrame({"case_format": ["png", "png", "jpeg"]}), "case_format")
    'png (2 cases), jpeg (1 case)'
    """
    import polars as pl

    if column not in rows.columns:
        return ""
    texts = rows[column].drop_nulls().cast(pl.String).replace("", empty)
    found = texts.filter(texts != "").value_counts().sort("count", column, descending=[True, False]).rows()
    shown = [f"{value} ({counted(n, unit)})" for value, n in found[:_MAX_VALUES]]
    left_out = len(found) - len(shown)
    return ", ".join([*shown, *([f"{left_out} more"] if left_out else [])])


def span(rows: DataFrame, column: str) -> str:
    """Write the least and the greatest number of a column; empty where it has none.

    Examples
    --------
    >>> import polars as pl
    >>> span(pl.DataFrame({"case_bits": [8, 12, 8]}), "case_bits")
    '8 to 12'
    """
    if column not in rows.columns or not rows[column].drop_nulls().len():
        return ""
    low, high = rows[column].min(), rows[column].max()
    return str(low) if low == high else f"{low!s} to {high!s}"


def patients_text(cases: DataFrame) -> str:
    """Say how many cases and patients there are, as far as patients are known."""
    known = cases["case_patient"].drop_nulls() if "case_patient" in cases.columns else None
    said = counted(cases.height, "case")
    if known is None or not known.len():
        return f"{said}; patients are not recorded"
    missing = cases.height - known.len()
    whose = f"{said} of {counted(known.n_unique(), 'patient')}"
    return f"{whose}, and {counted(missing, 'case')} without a patient" if missing else whose


def class_counts(cases: DataFrame) -> str:
    """Count the cases of each class."""
    return counts(cases, "case_label")


def splits_text(cases: DataFrame) -> str:
    """Count the cases of each split; empty where no split is recorded."""
    return counts(cases, "case_split")


def group_columns(cases: DataFrame) -> list[str]:
    """Return the columns that split the cases into a few groups."""
    extra = [name for name in cases.columns if name.startswith("case_") and name not in COLUMNS]
    fewest, most = _GROUPS
    columns = [name for name in ("case_format", "case_lossy", *extra) if name in cases.columns]
    return [name for name in columns if fewest <= cases[name].drop_nulls().n_unique() <= most]


def value_text(value: object) -> str:
    """Write a cell: truth as yes and no."""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
