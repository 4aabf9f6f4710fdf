"""Cases from a CSV or Parquet table.

| column | meaning | when absent or empty |
| --- | --- | --- |
| ``path`` | the file, relative to the table's folder | refused |
| ``label`` | the class | refused |
| ``id`` | unique name of the case | the path |
| ``patient``, ``PatientID``, ``subject``, ``mrn``, … (``patients.py``) | the unit of resampling | the id |
| ``split`` | the split's name | no split |
| any other | kept in ``Case.columns``, typed by the table's reader | None |

These five are read as text, so that a label ``01`` stays ``01``. A table identifies patients only
if every row does; a patient named in some rows only must still be in one split.
Messages refer to rows by number, the first data row being 1, and never quote a cell.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bitdose.data.base import Case, Scalar
from bitdose.data.patients import patient_column as found_patient_column
from bitdose.data.patients import patient_text, with_header_patients
from bitdose.errors import UsageError, argument

if TYPE_CHECKING:
    import polars as pl

TABLE_NAMES = ("cases.csv", "cases.parquet")
_TABLE_SUFFIXES = (".csv", ".parquet")
_OWN = ("id", "split")
_HEADER_BYTES = 1 << 16


def is_table(path: Path) -> bool:
    """Whether a file has the extension of a supported table."""
    return path.suffix.lower() in _TABLE_SUFFIXES


class TableRows(NamedTuple):
    """A table's cases, in its order.

    ``n_named`` rows name a patient, in the column ``patient_column``; empty where the table has none.
    """

    cases: list[Case]
    n_named: int
    patient_column: str

    def identified(self, name: str) -> tuple[list[Case], str]:
        """Return the cases and how their patients are known: by the column, else by DICOM headers."""
        if not self.n_named:
            return with_header_patients(self.cases, name)
        every = self.n_named == len(self.cases)
        return self.cases, f"column {self.patient_column}" if every else ""


class Columns(NamedTuple):
    """A table's columns; an empty ``patient`` stands for any of the usual names."""

    path: str = "path"
    label: str = "label"
    patient: str = ""


_USUAL = Columns()


def table_rows(path: Path, columns: Columns = _USUAL) -> TableRows:
    """List the cases of a table, in its order.

    Parameters
    ----------
    path : pathlib.Path
        An existing CSV or Parquet file.
    columns : Columns
        The columns that hold the file, the class and the patient.

    Raises
    ------
    UsageError
        If the file is no table, is empty, lacks a column, or has empty paths or labels.
    """
    is_text = path.suffix.lower() != ".parquet"
    return frame_rows(_read(path), path.name, path.parent, columns, is_text=is_text)


def frame_rows(
    frame: pl.DataFrame, name: str, folder: Path, columns: Columns = _USUAL, *, is_text: bool = False
) -> TableRows:
    """List the cases of a table in memory, as :func:`table_rows` does those of a file.

    Parameters
    ----------
    frame : polars.DataFrame
        The table.
    name : str
        What messages call it.
    folder : pathlib.Path
        What its paths are relative to.
    columns : Columns
        The columns that hold the file, the class and the patient.
    is_text : bool
        Whether all cells are text, so that the other columns' types are inferred.

    Raises
    ------
    UsageError
        As :func:`table_rows`.
    """
    for option, column in (
        (argument("path_column"), columns.path),
        (argument("label_column"), columns.label),
    ):
        if column not in frame.columns:
            raise UsageError(
                f"data {name!r}: expected a column {column!r}, got {', '.join(frame.columns)}; "
                f"rename yours, or name it with {option} in a study"
            )
    if frame.is_empty():
        raise UsageError(f"data {name!r}: the table has no rows; expected one per case")
    others = [column for column in frame.columns if column not in (*columns[:2], *_OWN)]
    columns = columns._replace(patient=found_patient_column(others, columns.patient, name))
    own = [c for c in dict.fromkeys((*columns, *_OWN)) if c in frame.columns]
    frame = _typed(frame, own) if is_text else frame
    rows = frame.with_columns(_as_text(name, frame[column]) for column in own).to_dicts()
    for column in columns[:2]:
        _check_filled(name, rows, column)
    n_named = sum(bool(patient_text(row.get(columns.patient))) for row in rows)
    return TableRows([_case(folder, row, columns) for row in rows], n_named, columns.patient)


def _case(folder: Path, row: dict[str, Any], columns: Columns) -> Case:
    name = row[columns.path]
    case_id = row.get("id") or name
    own = {*columns, *_OWN}
    return Case(
        id=case_id,
        label=row[columns.label],
        path=folder / name,
        patient=patient_text(row.get(columns.patient)) or case_id,
        split=row.get("split") or "",
        columns={key: _scalar(value) for key, value in row.items() if key not in own},
    )


def _scalar(value: Any) -> Scalar:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value or None if isinstance(value, str) else value
    return str(value)


def _check_filled(name: str, rows: list[dict[str, Any]], column: str) -> None:
    empty = [number for number, row in enumerate(rows, 1) if not row[column]]
    if empty:
        raise UsageError(
            f"{column}: expected a value in every row of {name}, got {len(empty)} empty cells, first in "
            f"data row {empty[0]}; fill or remove these rows"
        )


def _read(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        if path.suffix.lower() == ".parquet":
            frame = pl.read_parquet(path)
        else:
            _check_utf8(path)
            # Read as text: the types of the other columns are inferred later, from all rows.
            frame = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UsageError(
            f"data {path.name!r}: expected a CSV or Parquet table with a header, got a file that "
            f"cannot be read as one ({type(error).__name__}); check its contents"
        ) from None
    return frame


def _as_text(name: str, cells: pl.Series) -> pl.Series:
    """Convert a column to text; nested and binary columns have no text form for labels."""
    import polars as pl

    kind = cells.dtype
    try:
        if not kind.is_nested() and kind not in (pl.Binary, pl.Object):
            return cells.cast(pl.String).str.strip_chars()
    except pl.exceptions.PolarsError:
        pass
    raise UsageError(f"column {cells.name!r} of {name}: expected text or numbers, got {kind}") from None


def _check_utf8(path: Path) -> None:
    """Reject UTF-16 and binary files by their first line."""
    with path.open("rb") as file:
        header = file.readline(_HEADER_BYTES)
    if header.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in header:
        raise UsageError(f"data {path.name!r}: the file is not UTF-8; save it as CSV in UTF-8")


def _typed(frame: pl.DataFrame, text_columns: Sequence[str]) -> pl.DataFrame:
    """Cast every other column to the first type that fits all cells: integer, float, boolean or text."""
    import polars as pl

    for name in frame.columns:
        if name in text_columns:
            continue
        texts = frame[name]
        if texts.str.contains(r"^0\d").any():  # a code such as 007 stays text
            continue
        for kind in (pl.Int64, pl.Float64):
            numbers = texts.cast(kind, strict=False)
            if numbers.null_count() == texts.null_count() < len(texts):
                frame = frame.with_columns(numbers.alias(name))
                break
        else:
            frame = frame.with_columns(_truths(texts))
    return frame


def _truths(texts: pl.Series) -> pl.Series:
    words = {"true": True, "false": False}
    known = texts.drop_nulls().str.to_lowercase().is_in(list(words))
    if known.len() and known.all():
        return texts.str.to_lowercase() == "true"
    return texts
