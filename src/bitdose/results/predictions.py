"""A results table as arrays: labels as class indices, and the predictions of each condition case by case.

The only way from a table to arrays. Summaries take a condition's predictions on all cases of the table
(:func:`predictions_at`); decisions take a :class:`Cohort`: the cases that were classified at pristine, with
the predictions of every point that classified all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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
class ConditionPredictions:
    """What the classifier predicts at one condition (pristine or a coded point) for a list of cases.

    Parameters
    ----------
    predicted : numpy.ndarray
        ``(n_cases,)`` int class index, -1 for a case without a prediction; empty where ``reason`` says why
        the condition cannot be compared.
    probabilities : numpy.ndarray
        ``(n_cases, n_classes)`` float, NaN where there is none; no column where the table has none.
    reason : str
        Why predictions are missing that a comparison needs.
    """

    predicted: Ints
    probabilities: Floats
    reason: str = ""


@dataclass(frozen=True)
class PointRows:
    """One point's rows of a cohort: its place in its chain, its bytes and its predictions."""

    point: str
    chain: str
    strength: float
    predictions: ConditionPredictions
    bytes_file: Ints
    bytes_pixels: Ints
    bytes_coded: Ints


@dataclass(frozen=True)
class Cohort:
    """The cases on which points are compared: those that have a prediction at pristine.

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
    pristine : ConditionPredictions
        The predictions that coding may change.
    points : mapping
        Every other point, chain by chain from weak to strong.
    n_left_out : int
        Cases without a prediction at pristine.
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
    pristine: ConditionPredictions
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
        If the table has several models, lacks the split, has no pristine rows, or names a class that is none
        of the classifier's.
    BitdoseError
        If no case was classified at pristine.
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
    case_ids = before["case_id"].to_list()
    chains = {chain: rank for rank, chain in enumerate(table["codec_chain"].unique(maintain_order=True))}
    others = rows.filter(pl.col("point") != PRISTINE).partition_by("point", maintain_order=True)
    points = [_point_rows(part, case_ids, labels) for part in others]
    points.sort(key=lambda p: (chains[p.chain], p.strength))
    return Cohort(
        labels=labels,
        case_ids=tuple(case_ids),
        true=class_indices(before["case_label"], labels),
        patient_of_case=patient.astype(np.int64),
        patients=tuple(map(str, names)),
        pristine=_read(before, labels),
        points={p.point: p for p in points},
        n_left_out=rows["case_id"].n_unique() - len(before),
        splits=tuple(sorted(name for name in before["case_split"].unique().to_list() if name)),
        patients_named=bool((before["case_patient"] != before["case_id"]).any()),
    )


def _rows(table: pl.DataFrame, split: str, labels: tuple[str, ...]) -> pl.DataFrame:
    """Take the rows of a split and the columns that are read; a row without a prediction has failed."""
    import polars as pl

    columns = [*_READ, *(name for name in probability_columns(labels) if name in table.columns)]
    unpredicted = pl.col("predicted").is_null() & (pl.col("status") == OK)
    return (
        _of_split(table, split)
        .select(columns)
        .with_columns(
            pl.col("case_patient").fill_null(pl.col("case_id")),
            pl.when(unpredicted).then(pl.lit("no-prediction")).otherwise("status").alias("status"),
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


def _point_rows(rows: pl.DataFrame, case_ids: Sequence[str], labels: tuple[str, ...]) -> PointRows:
    import polars as pl

    everyone = rows["case_id"].to_list() == case_ids  # as a rule: quicker to see than to look each up
    mine = rows if everyone else rows.filter(pl.col("case_id").is_in(case_ids))
    ok = mine.filter(pl.col("status") == OK)
    ok = ok if everyone else ok.sort("case_id")
    reason = _missing(mine, len(ok), len(case_ids))
    first = rows.row(0, named=True)
    empty = ConditionPredictions(np.empty(0, np.int64), np.empty((0, 0)), reason)
    return PointRows(
        point=first["point"],
        chain=first["codec_chain"],
        strength=float(first["codec_strength"]),
        predictions=empty if reason else _read(ok, labels),
        bytes_file=ok["bytes_file"].to_numpy(),
        bytes_pixels=ok["bytes_pixels"].to_numpy(),
        bytes_coded=ok["bytes_coded"].to_numpy(),
    )


def _missing(rows: pl.DataFrame, n_ok: int, n_cases: int) -> str:
    """Say why a point cannot be compared: it must have a prediction for every case."""
    if n_ok == n_cases:
        return ""
    failed = Counter(status for status in rows["status"].to_list() if status != OK)
    why = ", ".join(f"{status} {n}" for status, n in failed.most_common(_SHOWN_STATUSES))
    absent = n_cases - len(rows)
    parts = [why] if why else []
    parts += [f"no row {absent}"] if absent else []
    return f"{n_cases - n_ok} of {n_cases} cases have no prediction at this point ({'; '.join(parts)})"


def predictions_at(
    rows: pl.DataFrame | None, places: Mapping[str, int], labels: tuple[str, ...]
) -> ConditionPredictions:
    """Read one condition's rows; a case without a row, or with a failed one, has no prediction.

    Parameters
    ----------
    rows : polars.DataFrame or None
        One row per case at most; None where the table has none.
    places : mapping
        Id of each case to its place in the arrays, in order.
    labels : tuple of str
        Classes.

    Raises
    ------
    UsageError
        If a row that is ok names a class that is none of the labels.
    """
    predicted = np.full(len(places), -1, np.int64)
    if rows is None:
        return ConditionPredictions(predicted, np.empty((len(places), 0)))
    ok = rows.filter(rows["status"] == OK)
    found, case_ids = _read(ok, labels), ok["case_id"].to_list()
    if case_ids == list(places):  # as a rule: quicker to see than to look each up
        return found
    cases = np.array([places[case] for case in case_ids], np.int64)
    probabilities = np.full((len(places), found.probabilities.shape[1]), np.nan)
    predicted[cases], probabilities[cases] = found.predicted, found.probabilities
    return ConditionPredictions(predicted, probabilities)


def _read(ok: pl.DataFrame, labels: tuple[str, ...]) -> ConditionPredictions:
    """Read rows that are ok, in their order."""
    columns = [name for name in probability_columns(labels) if name in ok.columns]
    chances = ok.select(columns).to_numpy().astype(float) if columns else np.empty((len(ok), 0))
    return ConditionPredictions(class_indices(ok["predicted"], labels), chances)


def class_indices(names: pl.Series, labels: tuple[str, ...], *, strict: bool = True) -> Ints:
    """Return each label's place among the classes.

    Parameters
    ----------
    names : polars.Series
        ``(n,)`` text.
    labels : tuple of str
        Classes.
    strict : bool
        Whether another label is refused; -1 where not.

    Raises
    ------
    UsageError
        If a label is none of the classes.
    """
    import polars as pl

    index = {label: place for place, label in enumerate(labels)}
    unknown = [name for name in names.unique(maintain_order=True).to_list() if name not in index]
    if unknown and strict:
        raise UsageError(f"results: label {unknown[0]!r} is none of the classifier's: {', '.join(labels)}")
    if not len(names):
        return np.empty(0, np.int64)
    other = {"default": -1} if unknown else {}
    return names.replace_strict(index, return_dtype=pl.Int64, **other).to_numpy()
