"""Two runs side by side: two classifiers, two versions, or two sets.

Where both runs hold the same cases the comparison is paired: each case is compared with itself. Other runs
are compared as independent samples. Two quantities are estimated at each point that both runs hold: the
difference in accuracy, and the difference in what compression costs (each run's coded minus its own pristine
accuracy).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import UsageError
from bitdose.metrics.rate import total_ratio
from bitdose.results.schema import OK, PRISTINE
from bitdose.stats.clusters import clustered_tango, clustered_wilson, paired_difference
from bitdose.stats.estimate import Estimate, undefined
from bitdose.stats.proportions import tango, wilson

if TYPE_CHECKING:
    import polars as pl

Bools = NDArray[np.bool_]
_COLUMNS = ("case_id", "case_digest", "case_label", "case_patient", "predicted", "bytes_file", "bytes_coded")


@dataclass(frozen=True)
class ComparedPoint:
    """Two runs at one operating point.

    Parameters
    ----------
    point, chain : str
        Text forms.
    ratio_file : float
        Total over total, of the second run.
    first, second : Estimate
        Accuracy of each on the cases that count here.
    difference : Estimate
        Accuracy of the second minus that of the first.
    cost : Estimate
        What the point costs the second minus what it costs the first: (coded - pristine) of the second minus
        (coded - pristine) of the first. Negative where the second stands less compression.
    only_first, only_second : int
        Paired: cases that one gets right and the other does not; -1 where the comparison is not paired.
    """

    point: str
    chain: str
    ratio_file: float
    first: Estimate
    second: Estimate
    difference: Estimate
    cost: Estimate
    only_first: int = -1
    only_second: int = -1


@dataclass(frozen=True)
class RunComparison:
    """Two runs compared at every point that both hold.

    Parameters
    ----------
    first, second : str
        What the runs are called.
    paired : bool
        Whether they hold the same cases.
    n_first, n_second, n_common : int
        Cases of each, and those in both.
    points : tuple of ComparedPoint
        Pristine first, then chain by chain from weak to strong.
    """

    first: str
    second: str
    paired: bool
    n_first: int
    n_second: int
    n_common: int
    points: tuple[ComparedPoint, ...]


def compare_tables(
    first: pl.DataFrame, second: pl.DataFrame, *, names: tuple[str, str], level: float = 0.95
) -> RunComparison:
    """Compare two results tables of one classifier each.

    Parameters
    ----------
    first, second : polars.DataFrame
        Columns as in :mod:`bitdose.results.schema`.
    names : tuple of str
        What the runs are called.
    level : float
        Confidence level of every interval, in (0, 1).

    Returns
    -------
    RunComparison
        Paired where a case with the same id, file digest and label is in both. Paired differences have
        Tango's interval, at the effective number of pairs where patients have several cases; unpaired ones
        combine the distances to each one's own limits (Newcombe's hybrid score interval).

    Raises
    ------
    UsageError
        If the two have no point in common, or one lacks pristine rows.

    References
    ----------
    Tango 1998, Stat Med 17:891; Newcombe 1998, Stat Med 17:873,
    doi 10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.
    """
    tables = tuple(_read(table, name) for table, name in zip((first, second), names, strict=True))
    points = [point for point in tables[0] if point in tables[1]]
    if PRISTINE not in points or len(points) == 1:
        raise UsageError(f"{names[0]} and {names[1]}: expected pristine and a coded point in both runs")
    common = _common(tables[0][PRISTINE], tables[1][PRISTINE])
    make = _paired if common else _independent
    order = first.select("point", "codec_chain", "codec_strength").unique(maintain_order=True)
    chains = {point: str(chain) for point, chain, _ in order.iter_rows()}
    found = [
        make(tables[0], tables[1], point, level=level, chain=chains[point], common=common) for point in points
    ]
    n_first, n_second = (len(table[PRISTINE]) for table in tables)
    return RunComparison(*names, bool(common), n_first, n_second, len(common), tuple(found))


def _read(table: pl.DataFrame, name: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the ok rows by point and case."""
    models = table["model"].unique().to_list()
    if len(models) > 1:
        raise UsageError(f"{name}: expected results of one model, got {len(models)}")
    rows = table.filter(table["status"] == OK).select("point", *_COLUMNS)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        found.setdefault(row["point"], {})[row["case_id"]] = row
    return found


def _common(first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]) -> frozenset[str]:
    """Return the cases that are the same in both: id, label and, where both know it, the file."""
    same = set()
    for case_id in first.keys() & second.keys():
        one, other = first[case_id], second[case_id]
        digests = {one["case_digest"], other["case_digest"]} - {None}
        if one["case_label"] == other["case_label"] and len(digests) <= 1:
            same.add(case_id)
    return frozenset(same)


def _right(rows: dict[str, dict[str, Any]], cases: list[str]) -> Bools:
    return np.array([rows[case]["predicted"] == rows[case]["case_label"] for case in cases], bool)


def _patients(rows: dict[str, dict[str, Any]], cases: list[str]) -> NDArray[np.str_]:
    return np.array([rows[case]["case_patient"] or case for case in cases], dtype=str)


def _ratio(rows: dict[str, dict[str, Any]], cases: list[str]) -> float:
    file, coded = ([rows[case][key] for case in cases] for key in ("bytes_file", "bytes_coded"))
    if not cases or any(value is None for value in (*file, *coded)):
        return math.nan
    return total_ratio(np.array(file), np.array(coded))


def _share(right: Bools, patients: NDArray[np.str_], level: float) -> Estimate:
    if np.unique(patients).size < right.size:
        return clustered_wilson(right, patients, level=level)
    return wilson(int(right.sum()), right.size, level=level)


def _paired(
    first: dict[str, Any],
    second: dict[str, Any],
    point: str,
    *,
    level: float,
    chain: str,
    common: frozenset[str],
) -> ComparedPoint:
    """Compare on the cases that all four conditions (two runs, pristine and coded) classified."""
    held = (first[point], second[point], first[PRISTINE], second[PRISTINE])
    cases = sorted(common.intersection(*held))
    a, b, a_pristine, b_pristine = (_right(rows, cases) for rows in held)
    patients = _patients(second[point], cases)
    clustered = np.unique(patients).size < len(cases)
    gained, lost = b & ~a, a & ~b
    if clustered:
        difference = clustered_tango(gained, lost, patients, level=level)
    else:
        difference = tango(int(gained.sum()), int(lost.sum()), len(cases), level=level)
    costs = (b.astype(float) - b_pristine) - (a.astype(float) - a_pristine)
    return ComparedPoint(
        point=point,
        chain=chain,
        ratio_file=_ratio(second[point], cases),
        first=_share(a, patients, level),
        second=_share(b, patients, level),
        difference=difference,
        cost=_mean(costs, patients, level),
        only_first=int(lost.sum()),
        only_second=int(gained.sum()),
    )


def _mean(values: NDArray[np.float64], patients: NDArray[np.str_], level: float) -> Estimate:
    unit = "patient" if np.unique(patients).size < values.size else "case"
    if not values.size:
        return undefined("no case in both runs", level=level, unit=unit)
    parts = values / values.size
    least = np.unique(patients).size
    return paired_difference(parts, parts - parts.mean(), patients, least=least, level=level, unit=unit)


def _independent(
    first: dict[str, Any],
    second: dict[str, Any],
    point: str,
    *,
    level: float,
    chain: str,
    common: frozenset[str],  # noqa: ARG001 -- empty: the same call as the paired one's
) -> ComparedPoint:
    """Compare as two samples, each on the cases that it classified both pristine and coded."""
    (a, a_loss, _), (b, b_loss, cases) = (_alone(run, point, level) for run in (first, second))
    return ComparedPoint(
        point=point,
        chain=chain,
        ratio_file=_ratio(second[point], cases),
        first=a,
        second=b,
        difference=difference_of(b, a),
        cost=difference_of(b_loss, a_loss),
    )


def _alone(run: dict[str, Any], point: str, level: float) -> tuple[Estimate, Estimate, list[str]]:
    cases = sorted(run[point].keys() & run[PRISTINE].keys())
    right, pristine = (_right(run[name], cases) for name in (point, PRISTINE))
    patients = _patients(run[point], cases)
    gained, lost = right & ~pristine, pristine & ~right
    if np.unique(patients).size < len(cases):
        loss = clustered_tango(gained, lost, patients, level=level)
    else:
        loss = tango(int(gained.sum()), int(lost.sum()), len(cases), level=level)
    return _share(right, patients, level), loss, cases


def difference_of(minuend: Estimate, subtrahend: Estimate) -> Estimate:
    """Return the difference of two independent estimates, with limits from theirs (Newcombe 1998).

    Examples
    --------
    >>> f"{difference_of(wilson(56, 70), wilson(48, 80)):.4f}"
    '0.2000 (0.0524 to 0.3339)'
    """
    value = minuend.value - subtrahend.value
    n, unit = minuend.n + subtrahend.n, minuend.unit
    if math.isnan(value):
        return undefined(minuend.reason or subtrahend.reason, level=minuend.level, unit=unit)
    below = math.hypot(minuend.value - minuend.low, subtrahend.high - subtrahend.value)
    above = math.hypot(minuend.high - minuend.value, subtrahend.value - subtrahend.low)
    method = f"newcombe({minuend.method})"
    return Estimate(value, value - below, value + above, minuend.level, method, n, unit)


def distinct_names(models: Sequence[str], places: Sequence[Path]) -> tuple[str, str]:
    """Return what two runs are called: their classifiers where these differ, else their folders or tables.

    Parameters
    ----------
    models : sequence of str
        Both classifiers, ``NAME@DIGEST``.
    places : sequence of pathlib.Path
        Both run folders or tables, as absolute paths.

    Examples
    --------
    >>> distinct_names(["net@01", "net@02"], [Path("/runs/a"), Path("/runs/b")])
    ('net@01', 'net@02')
    """
    bare = [model.rpartition("@")[0] or model for model in models]
    above = [f"{place.parent.name}/{place.stem}" for place in places]
    for names in (bare, models, [place.stem for place in places], above):
        if names[0] != names[1]:
            return names[0], names[1]
    return f"{above[0]} (1)", f"{above[1]} (2)"
