"""Accuracy by subgroup: the cases of one sex, age band, site or source format at chosen points.

A subgroup is a value, or a band of values, of one ``case_`` column. Columns that name a case or
a person never make subgroups, and neither do texts of which nearly every case has its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitdose.results import estimates as estimate
from bitdose.results.conditions import Condition, Design, PristineReference, make_design, whole_condition
from bitdose.results.schema import COLUMNS, PRISTINE, PROBABILITY_PREFIX
from bitdose.stats.estimate import Estimate, undefined

if TYPE_CHECKING:
    import polars as pl

UNKNOWN = "unknown"
FEW_CASES = 10
MAX_GROUPS = 12
_PREFIX = "case_"
_READ = frozenset({"point", "predicted", "status"})
_ALWAYS = ("case_format", "case_lossy")
_SHOWN = (*_ALWAYS, "case_split")
# Words of a column's name that say it points at a case or a person.
_NAMING = {"accession", "birth", "birthdate", "digest", "file", "id", "mrn", "name", "path", "uid", "uuid"}
_LONGEST = 40
_OLDEST_BAND = 90


@dataclass(frozen=True)
class Subgroup:
    """Cases that share a value of a column, at one point.

    ``n_cases`` and ``n_patients`` count the group; ``n_ok`` its cases classified at the point and
    ``n_right`` those of them predicted right. ``accuracy_difference`` is against pristine on the
    group's own cases. ``note`` marks small groups. A column that makes no groups is one record
    with an empty ``group`` and ``point``, and a note that says why.
    """

    column: str
    group: str
    point: str
    n_cases: int
    n_patients: int
    n_ok: int
    n_right: int
    accuracy: Estimate
    accuracy_difference: Estimate
    note: str = ""


def subgroups(
    table: pl.DataFrame, points: Sequence[str], *, labels: tuple[str, ...], level: float = 0.95
) -> list[Subgroup]:
    """Read accuracy and its loss off the table, group by group.

    Parameters
    ----------
    table : polars.DataFrame
        Results of one model, columns as in ``schema.py``; every further ``case_<name>`` makes groups.
    points : sequence of str
        Points in their text form; those without rows are passed over.
    labels : tuple of str
        The classifier's labels.
    level : float
        Confidence level of every interval.

    Returns
    -------
    list of Subgroup
        By column, group and point, each in order; cases without a value are the group ``unknown``.
        Intervals are those of the whole set's accuracy, on fewer cases, and not corrected for
        the number of groups.
    """
    import polars as pl

    patient = pl.col("case_patient").fill_null(pl.col("case_id"))
    read = [c for c in table.columns if c.startswith((_PREFIX, PROBABILITY_PREFIX)) or c in _READ]
    rows = table.select(read).with_columns(patient)
    ordered = rows if rows["case_id"].is_sorted() else rows.sort("case_id", "point")
    of_case = [c for c in read if c.startswith(_PREFIX) and c != "case_id"]
    known = pl.col(of_case).drop_nulls().first()
    cases = ordered.group_by("case_id", maintain_order=True).agg(known)
    design = make_design(cases, labels, level=level, draws=1, seed=0)
    by_point = {point: ordered.filter(pl.col("point") == point) for point in (PRISTINE, *points)}
    reference = PristineReference(design, by_point[PRISTINE])
    pairs = []
    for point in (point for point in points if len(by_point[point])):
        condition = whole_condition(design, by_point[point])
        pairs.append((point, condition, *reference.pair(condition)))
    found: list[Subgroup] = []
    for column in _columns(cases):
        name = column.removeprefix(_PREFIX)
        groups, why = _groups(name, cases[column])
        if why:
            found.append(_not_shown(name, why, design))
        elif len(groups) > 1 or column in _ALWAYS:
            for group, members in groups.items():
                found += _at_points(name, group, members, pairs, design)
    return found


def grouped(values: pl.Series, *, banded_by_ten: bool = False) -> tuple[dict[str, NDArray[np.bool_]], str]:
    """Sort cases into groups by the values of a column.

    Parameters
    ----------
    values : polars.Series
        One value per case: text, truth or number. Texts that are all numbers count as numbers.
    banded_by_ten : bool
        Whether many different numbers are cut at 10, 20, …, 90 instead of at their quartiles.

    Returns
    -------
    groups : dict
        Name of each group to ``(n_cases,)`` bool; those without a value are the last, ``unknown``.
    why : str
        Why the column makes no groups, without naming a value; empty if it does.

    Examples
    --------
    >>> import polars as pl
    >>> list(grouped(pl.Series(["f", "m", None, "f", "m"]))[0])
    ['f', 'm', 'unknown']
    >>> list(grouped(pl.Series(range(20, 60)), banded_by_ten=True)[0])
    ['20 to 29', '30 to 39', '40 to 49', '50 to 59']
    """
    import polars as pl

    if values.dtype.is_float():
        values = values.fill_nan(None)
    if values.dtype == pl.Boolean:
        values = values.replace_strict({True: "yes", False: "no"}, return_dtype=pl.String)
    known, numbers = values.is_not_null().to_numpy(), values.cast(pl.Float64, strict=False)
    distinct, n = values.drop_nulls().n_unique(), int(known.sum())
    numeric = n > 0 and numbers.null_count() == values.null_count() and bool(numbers.is_finite().all())
    own_values = distinct > max(2, n / 2)
    bands = numeric and (distinct > MAX_GROUPS or own_values)
    # Whole numbers of which most cases have their own may be numbers of cases; ages are not.
    if own_values and not (bands and (banded_by_ten or (n > MAX_GROUPS and bool((numbers % 1 != 0).any())))):
        return {}, f"not shown: {distinct} different values in {n} cases could name a case"
    if distinct > MAX_GROUPS and not numeric:
        return {}, f"not shown: {distinct} different texts"
    if numeric:
        groups = _by_number(numbers.to_numpy(), bands=bands, by_ten=banded_by_ten)
    else:
        groups = _by_text(values.cast(pl.String))
    if not known.all():
        groups[UNKNOWN] = groups.pop(UNKNOWN, np.zeros(known.size, bool)) | ~known
    return groups, ""


def _by_text(texts: pl.Series) -> dict[str, NDArray[np.bool_]]:
    found: dict[str, NDArray[np.bool_]] = {}
    for value in sorted(texts.drop_nulls().unique()):
        name = value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
        members = (texts == value).fill_null(value=False).to_numpy()
        found[name] = found.get(name, np.zeros(members.size, bool)) | members
    return found


def _by_number(numbers: NDArray[np.float64], *, bands: bool, by_ten: bool) -> dict[str, NDArray[np.bool_]]:
    known = numbers[~np.isnan(numbers)]
    if not bands:
        return {f"{v:.10g}": numbers == v for v in np.unique(known)}
    if by_ten:
        decade = np.minimum(np.floor(numbers / 10) * 10, _OLDEST_BAND)
        names = {
            v: f"{v:.0f} to {v + 9:.0f}" if v < _OLDEST_BAND else f"{v:.0f} or more"
            for v in np.unique(decade[~np.isnan(decade)])
        }
        return {name: decade == v for v, name in names.items()}
    edges = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
    band = np.searchsorted(edges[1:-1], numbers)
    found = {}
    for i, (low, high) in enumerate(pairwise(edges)):
        name = f"{'over ' if i else ''}{low:.4g} to {high:.4g}"
        found[name] = (band == i) & ~np.isnan(numbers)
    return found


def _columns(cases: pl.DataFrame) -> Iterator[str]:
    shown = [name for name in _SHOWN if name in cases.columns]
    further = (c for c in cases.columns if c.startswith(_PREFIX) and c not in COLUMNS)
    yield from (*shown, *sorted(further))


def _at_points(
    column: str,
    group: str,
    members: NDArray[np.bool_],
    pairs: Sequence[tuple[str, Condition, Condition, Condition]],
    design: Design,
) -> Iterator[Subgroup]:
    n, patients = int(members.sum()), np.unique(design.patient_of_case[members]).size
    note = f"fewer than {FEW_CASES} cases" if n < FEW_CASES else ""
    for point, condition, now, then in pairs:
        here, right = members[condition.cases], condition.predicted == condition.true
        if point == PRISTINE:
            difference = undefined("pristine itself", level=design.level, unit=design.unit)
        else:
            right_both = now.predicted == now.true, then.predicted == then.true
            difference = estimate.share_difference(*right_both, members[now.cases], now)
        accuracy = estimate.share(right, here, condition, "classified case")
        counts = n, patients, int(here.sum()), int((here & right).sum())
        yield Subgroup(column, group, point, *counts, accuracy, difference, note)


def _not_shown(column: str, why: str, design: Design) -> Subgroup:
    nothing = undefined(why, level=design.level, unit=design.unit)
    return Subgroup(column, "", "", len(design.ids), design.n_patients, 0, 0, nothing, nothing, why)


def _groups(name: str, values: pl.Series) -> tuple[dict[str, NDArray[np.bool_]], str]:
    words = set(re.split(r"[^a-z]+", name.lower()))
    if words & _NAMING:
        return {}, "not shown: by its name the column points at a case or a person"
    return grouped(values, banded_by_ten="age" in words)
