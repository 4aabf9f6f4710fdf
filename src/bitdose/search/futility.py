"""Futility stops: early termination of a point that can no longer pass.

Stochastic curtailment (Lan, Simon & Halperin 1982): the unmeasured cases are imputed as favourably as the
measured ones allow; if the test on all cases still fails, the point is stopped for futility. A stop can only
turn a pass into a failure, so no guarantee depends on it; ``benchmarks/search.py`` measures how seldom it
changes the certified point.

The imputed values are predicted classes, so only metrics of predicted classes can be curtailed: shares of
cases, flip rates, precision and F1. AUROC, the Brier score and calibration always use all cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitdose.decision.dirichlet import DirichletWeights
from bitdose.decision.margin_tests import among, check_margin, is_share, right
from bitdose.results.predictions import Cohort, ConditionPredictions, class_indices
from bitdose.results.schema import OK
from bitdose.rule.margins import Margin
from bitdose.stats.proportions import tango

if TYPE_CHECKING:
    import polars as pl

Ints = NDArray[np.int64]

_DOUBT = 0.01  # probability that the unmeasured cases are more favourable than the imputed ones


@dataclass(frozen=True, eq=False)
class InterimCounts:
    """Predictions of a point on the cases of a cohort that were measured so far.

    Parameters
    ----------
    places : numpy.ndarray
        ``(n_seen,)`` int: index of each measured case in the cohort's arrays.
    predicted : numpy.ndarray
        ``(n_seen,)`` int: predicted class index.
    failed : int
        Number of measured cases without a prediction at this point.
    """

    places: Ints
    predicted: Ints
    failed: int


def interim_counts(rows: pl.DataFrame, cohort: Cohort) -> InterimCounts:
    """Return the interim counts of one point's rows; cases outside the cohort are ignored.

    Parameters
    ----------
    rows : polars.DataFrame
        Rows of one point.
    cohort : Cohort
        All cases of the test.
    """
    import polars as pl

    place = {case: index for index, case in enumerate(cohort.case_ids)}
    mine = rows.filter(pl.col("case_id").is_in(list(place)))
    ok = mine.filter(pl.col("status") == OK)
    places = np.array([place[case] for case in ok["case_id"].to_list()], np.int64)
    return InterimCounts(places, class_indices(ok["predicted"], cohort.labels), len(mine) - len(ok))


def futility_reason(
    margin: Margin, cohort: Cohort, seen: InterimCounts, weights: DirichletWeights, *, alpha: float
) -> str:
    """Return why a margin can no longer be shown at a point; empty where it still can.

    Parameters
    ----------
    margin : Margin
        The margin under test.
    cohort : Cohort
        All cases, with their pristine predictions.
    seen : InterimCounts
        The point's predictions so far.
    weights : DirichletWeights
        Dirichlet (bootstrap) weights of the cohort's patients.
    alpha : float
        Level of the test on all cases.

    References
    ----------
    Lan, Simon & Halperin 1982, Commun Stat C 1:207.
    """
    if "probabilities" in margin.kind.needs or not seen.places.size:
        return ""
    filled = _filled_in(margin, cohort, seen)
    if filled is None or check_margin(margin, cohort, filled, weights, alpha=alpha).passed:
        return ""
    gained, lost = _changes(margin, cohort, seen)
    return (
        f"stopped for futility after {seen.places.size} of {cohort.true.size} cases, "
        f"{int(lost.sum())} lost and {int(gained.sum())} gained: the remaining cases cannot compensate"
    )


def _changes(
    margin: Margin, cohort: Cohort, seen: InterimCounts
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the gained and the lost cases among the metric's measured cases, ``(n_among,)`` bool each."""
    mine = among(margin, cohort)[seen.places]
    now = _predictions_of(cohort, seen)
    if margin.kind.event:
        event = margin.kind.event(cohort.true, cohort.pristine.predicted, now.predicted)[seen.places][mine]
        return np.zeros_like(event), event
    before = right(margin, cohort, cohort.pristine)[seen.places][mine]
    after = right(margin, cohort, now)[seen.places][mine]
    return after & ~before, before & ~after


def _filled_in(margin: Margin, cohort: Cohort, seen: InterimCounts) -> ConditionPredictions | None:
    """Return predictions on all cases, the unmeasured imputed favourably; None without measured cases."""
    gained, lost = _changes(margin, cohort, seen)
    if not lost.size:
        return None
    rest = among(margin, cohort)
    rest[seen.places] = False
    least = -tango(int(gained.sum()), int(lost.sum()), lost.size, level=1 - 2 * _DOUBT).high
    more = least * int(rest.sum())
    predictions = _predictions_of(cohort, seen)
    keep = _can_lose(margin, cohort)
    if more > 0:
        _turn(predictions.predicted, rest & keep, math.floor(more), _wrong(margin, cohort))
    elif not margin.is_rate:
        _turn(predictions.predicted, rest & ~keep, math.ceil(-more), _right_predictions(margin, cohort))
    return predictions


def _can_lose(margin: Margin, cohort: Cohort) -> NDArray[np.bool_]:
    """Return which cases another prediction than pristine's would count as lost, ``(n_cases,)``."""
    if margin.kind.event is None:
        return right(margin, cohort, cohort.pristine)
    return margin.kind.event(cohort.true, cohort.pristine.predicted, _wrong(margin, cohort))


def _predictions_of(cohort: Cohort, seen: InterimCounts) -> ConditionPredictions:
    predicted = cohort.pristine.predicted.copy()
    predicted[seen.places] = seen.predicted
    return ConditionPredictions(predicted, cohort.pristine.probabilities)


def _turn(predicted: Ints, eligible: NDArray[np.bool_], count: int, replacement: Ints) -> None:
    """Replace ``count`` predictions, spread evenly over the eligible cases."""
    places = np.flatnonzero(eligible)
    chosen = places[np.unique(np.linspace(0, places.size - 1, min(count, places.size)).astype(int))]
    predicted[chosen] = replacement[chosen]


def _wrong(margin: Margin, cohort: Cohort) -> Ints:
    """Return per case a prediction that the metric counts as wrong."""
    if margin.label and not margin.is_rate and is_share(margin):
        return _first(margin, cohort, hit=False)
    return np.asarray((cohort.pristine.predicted + 1) % len(cohort.labels))


def _right_predictions(margin: Margin, cohort: Cohort) -> Ints:
    if margin.label and not margin.is_rate and is_share(margin):
        return _first(margin, cohort, hit=True)
    return cohort.true


def _first(margin: Margin, cohort: Cohort, *, hit: bool) -> Ints:
    """Return per case the first class that is a hit of a share, or none, if predicted."""
    of_class = [np.full_like(cohort.true, k) for k in range(len(cohort.labels))]
    none = cohort.pristine.probabilities
    hits = np.stack([right(margin, cohort, ConditionPredictions(one, none)) for one in of_class], 1)
    return np.asarray((hits == hit).argmax(1))
