"""A results table as arrays: the cases that pristine classified, and their answers at each point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import BitdoseError, UsageError, argument, command
from bitdose.results.schema import OK, PRISTINE, probability_columns
from bitdose.results.table import labels_of

if TYPE_CHECKING:
    import polars as pl

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_SHOWN_STATUSES = 3
_READ = (
    "case_id", "case_patient", "case_label", "case_split", "point", "codec_chain", "codec_strength", "status",
    "predicted", "bytes_file", "bytes_pixels", "bytes_coded",
)  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What the classifier said of every case of a cohort at one point.

    Parameters
    ----------
    predicted : numpy.ndarray
        ``(n_cases,)`` int class index; empty where ``reason`` says why there is none.
    probabilities : numpy.ndarray
        ``(n_cases, n_classes)`` float; no column where the table has none.
    reason : str
        Why the point has not all of the cohort's answers.
    """

    predicted: Ints
    probabilities: Floats
    reason: str = ""


@dataclass(frozen=True)
class PointRows:
    """One point's rows of a cohort: its place in its chain, its bytes and its answers."""

    point: str
    chain: str
    strength: float
    answers: Answers
    bytes_file: Ints
    bytes_pixels: Ints
    bytes_coded: Ints


@dataclass(frozen=True)
class Cohort:
    """The cases on which points are compared: those that have an answer at pristine.

    Parameters
    ----------
    labels : tuple of str
        Classes.
    case_ids : tuple of str
        Sorted; all arrays follow this order.
    true : numpy.ndarray
        ``(n_cases,)`` int class index.
    patient_of_case : numpy.ndarray
        ``(n_cases,)`` int.
    patients : tuple of str
        Names, for telling whether two cohorts share one.
    pristine : Answers
        The answers that coding may change.
    points : mapping
        Every other point, chain by chain from mild to harsh.
    n_left_out : int
        Cases without an answer at pristine.
    splits : tuple of str
        Splits that the cases are of.
    patients_named : bool
        Whether a case has a patient besides its own id.
    """

    labels: tuple[str, ...]
    case_ids: tuple[str, ...]
    true: Ints
    patient_of_case: Ints
    patients: tuple[str, ...]
    pristine: Answers
    points: Mapping[str, PointRows]
    n_left_out: int = 0
    splits: tuple[str, ...] = ()
    patients_named: bool = True

    @property
    def clustered(self) -> bool:
        """Whether a patient has several cases."""
        return len(self.patients) < len(self.case_ids)

    def units(self, mask: NDArray[np.bool_]) -> tuple[int, str]:
        """Return how many units of resampling some cases are, and the unit's name."""
        if self.clustered:
            return int(np.unique(self.patient_of_case[mask]).size), "patient"
        return int(mask.sum()), "case"


def make_cohort(table: pl.DataFrame, split: str = "") -> Cohort:
    """Read a results table of one model into arrays.

    Parameters
    ----------
    table : polars.DataFrame
        Columns as in ``results/schema.py``.
    split : str
        Which split; empty takes all rows.

    Raises
    ------
    UsageError
        If the table has several models, lacks the split, or has no pristine rows.
    BitdoseError
        If no case was classified at pristine, or a label is none of the classifier's.
    """
    import polars as pl

    models = table["model"].unique().to_list()
    if len(models) > 1:
        raise UsageError(f"expected results of one model, got {len(models)}: {', '.join(map(str, models))}")
    labels = labels_of(table)
    rows = _rows(table, split, labels)
    _check_places(rows)
    if PRISTINE not in rows["point"]:
        raise UsageError("results: no pristine rows; every loss is measured against them")
    before = rows.filter((pl.col("point") == PRISTINE) & (pl.col("status") == OK)).sort("case_id")
    if not len(before):
        raise BitdoseError("no case was classified at pristine, so nothing can be compared")
    names, patient = np.unique(before["case_patient"].to_numpy(), return_inverse=True)
    places = {case: place for place, case in enumerate(before["case_id"].to_list())}
    chains = {chain: rank for rank, chain in enumerate(table["codec_chain"].unique(maintain_order=True))}
    others = rows.filter(pl.col("point") != PRISTINE).partition_by("point", maintain_order=True)
    points = [_point_rows(part, places, labels) for part in others]
    points.sort(key=lambda p: (chains[p.chain], p.strength))
    return Cohort(
        labels=labels,
        case_ids=tuple(places),
        true=indices_of(before["case_label"], labels),
        patient_of_case=patient.astype(np.int64),
        patients=tuple(map(str, names)),
        pristine=_answers(before, labels),
        points={p.point: p for p in points},
        n_left_out=rows["case_id"].n_unique() - len(before),
        splits=tuple(sorted(name for name in before["case_split"].unique().to_list() if name)),
        patients_named=bool((before["case_patient"] != before["case_id"]).any()),
    )


def _rows(table: pl.DataFrame, split: str, labels: tuple[str, ...]) -> pl.DataFrame:
    """Take the rows of a split and the columns that are read; a row without an answer has failed."""
    import polars as pl

    columns = [*_READ, *(name for name in probability_columns(labels) if name in table.columns)]
    unanswered = pl.col("predicted").is_null() & (pl.col("status") == OK)
    return (
        _of_split(table, split)
        .select(columns)
        .with_columns(
            pl.col("case_patient").fill_null(pl.col("case_id")),
            pl.when(unanswered).then(pl.lit("no-answer")).otherwise("status").alias("status"),
        )
    )


def check_disjoint(first: Cohort, second: Cohort) -> None:
    """Raise ``UsageError`` if a patient is in both: what is chosen and proved on one patient is biased."""
    both = set(first.patients) & set(second.patients)
    if both:
        raise UsageError(
            f"{argument('select')} and {argument('confirm')}: expected no patient in both splits, "
            f"got {len(both)}; "
            "move all cases of a patient into one split"
        )


def _check_places(rows: pl.DataFrame) -> None:
    """Raise ``UsageError`` for a point that does not say where it stands in its chain."""
    for column in ("codec_chain", "codec_strength"):
        lost = rows.filter(rows[column].is_null())["point"]
        if len(lost):
            raise UsageError(f"results: {column} is missing at point {lost[0]!r}; every row needs it")


def _of_split(table: pl.DataFrame, split: str) -> pl.DataFrame:
    import polars as pl

    if not split:
        return table
    rows = table.filter(pl.col("case_split") == split)
    if not len(rows):
        known = sorted(str(name) for name in table["case_split"].unique() if name)
        there = f"the run has {', '.join(known)}" if known else "the run has no splits"
        raise UsageError(
            f"split {split!r}: {there}; run {command('study', python='bitdose.study()')} with "
            f"{argument('split', 'all')}"
        )
    return rows


def _point_rows(rows: pl.DataFrame, places: Mapping[str, int], labels: tuple[str, ...]) -> PointRows:
    import polars as pl

    everyone = rows["case_id"].to_list() == list(places)  # as a rule: quicker to see than to look each up
    mine = rows if everyone else rows.filter(pl.col("case_id").is_in(list(places)))
    ok = mine.filter(pl.col("status") == OK).sort("case_id")
    reason = _missing(mine, len(ok), len(places))
    first = rows.row(0, named=True)
    empty = Answers(np.empty(0, np.int64), np.empty((0, 0)), reason)
    return PointRows(
        point=first["point"],
        chain=first["codec_chain"],
        strength=float(first["codec_strength"]),
        answers=empty if reason else _answers(ok, labels),
        bytes_file=ok["bytes_file"].to_numpy(),
        bytes_pixels=ok["bytes_pixels"].to_numpy(),
        bytes_coded=ok["bytes_coded"].to_numpy(),
    )


def _missing(rows: pl.DataFrame, n_ok: int, n_cases: int) -> str:
    """Say why a point lacks answers; a point is comparable only if it answers every case."""
    if n_ok == n_cases:
        return ""
    failed = Counter(status for status in rows["status"].to_list() if status != OK)
    why = ", ".join(f"{status} {n}" for status, n in failed.most_common(_SHOWN_STATUSES))
    absent = n_cases - len(rows)
    parts = [why] if why else []
    parts += [f"no row {absent}"] if absent else []
    return f"{n_cases - n_ok} of {n_cases} cases have no answer at this point ({'; '.join(parts)})"


def _answers(rows: pl.DataFrame, labels: tuple[str, ...]) -> Answers:
    columns = [name for name in probability_columns(labels) if name in rows.columns]
    chances = rows.select(columns).to_numpy().astype(float) if columns else np.empty((len(rows), 0))
    return Answers(indices_of(rows["predicted"], labels), chances)


def indices_of(names: pl.Series, labels: tuple[str, ...]) -> Ints:
    """Turn labels into class indices; raises ``BitdoseError`` for one that is none of the classifier's."""
    import polars as pl

    index = {label: place for place, label in enumerate(labels)}
    unknown = next((name for name in names.unique(maintain_order=True).to_list() if name not in index), None)
    if unknown is not None:
        raise BitdoseError(f"results: label {unknown!r} is none of the classifier's: {', '.join(labels)}")
    if not len(names):
        return np.empty(0, np.int64)
    return names.replace_strict(list(index), list(index.values()), return_dtype=pl.Int64).to_numpy()
