"""Giving up early: a point that can no longer pass need not see the rest of the cases.

Stochastic curtailment (Lan, Simon & Halperin 1982): the cases not seen yet are filled in as kindly as
what was seen allows, and if the test on all cases fails even so, the point is given up. It can only turn
a pass into a failure, so no guarantee depends on it; ``benchmarks/search.py`` shows how seldom it changes
an answer.

Filled in are answers, so metrics of answers can be curtailed: shares of cases, rates of flips, precision
and F1. Metrics of probabilities see all cases.
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

_DOUBT = 0.01  # chance that the rest is kinder than what is filled in


@dataclass(frozen=True, eq=False)
class InterimCounts:
    """A point's answers on some cases of a cohort.

    Parameters
    ----------
    places : numpy.ndarray
        ``(n_seen,)`` int: which cases, as places in the cohort's arrays.
    predicted : numpy.ndarray
        ``(n_seen,)`` int class index.
    failed : int
        Cases measured that have no answer at this point.
    """

    places: Ints
    predicted: Ints
    failed: int


def seen_of(rows: pl.DataFrame, cohort: Cohort) -> InterimCounts:
    """Read one point's rows, those of cases outside the cohort left out."""
    import polars as pl

    place = {case: index for index, case in enumerate(cohort.case_ids)}
    mine = rows.filter(pl.col("case_id").is_in(list(place)))
    ok = mine.filter(pl.col("status") == OK)
    places = np.array([place[case] for case in ok["case_id"].to_list()], np.int64)
    return InterimCounts(places, class_indices(ok["predicted"], cohort.labels), len(mine) - len(ok))


def given_up(
    margin: Margin, cohort: Cohort, seen: InterimCounts, weights: DirichletWeights, *, alpha: float
) -> str:
    """Say why a margin can no longer be shown at a point; empty where it still may.

    Parameters
    ----------
    margin : Margin
        What is asked.
    cohort : Cohort
        All cases, with their pristine answers.
    seen : InterimCounts
        The point's answers so far.
    weights : DirichletWeights
        Weightings of the cohort's patients.
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
        f"given up after {seen.places.size} of {cohort.true.size} cases, "
        f"{int(lost.sum())} lost and {int(gained.sum())} gained: the rest could not make up for them"
    )


def _changes(
    margin: Margin, cohort: Cohort, seen: InterimCounts
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which of the cases seen, among the metric's own, were gained and lost, ``(n_among,)`` each."""
    mine = among(margin, cohort)[seen.places]
    now = _predictions_of(cohort, seen)
    if margin.kind.event:
        event = margin.kind.event(cohort.true, cohort.pristine.predicted, now.predicted)[seen.places][mine]
        return np.zeros_like(event), event
    before = right(margin, cohort, cohort.pristine)[seen.places][mine]
    after = right(margin, cohort, now)[seen.places][mine]
    return after & ~before, before & ~after


def _filled_in(margin: Margin, cohort: Cohort, seen: InterimCounts) -> ConditionPredictions | None:
    """Return answers on all cases, the unseen as kind as the seen allow; None if nothing is known."""
    gained, lost = _changes(margin, cohort, seen)
    if not lost.size:
        return None
    rest = among(margin, cohort)
    rest[seen.places] = False
    least = -tango(int(gained.sum()), int(lost.sum()), lost.size, level=1 - 2 * _DOUBT).high
    more = least * int(rest.sum())
    answers = _predictions_of(cohort, seen)
    keep = _can_lose(margin, cohort)
    if more > 0:
        _turn(answers.predicted, rest & keep, math.floor(more), _wrong(margin, cohort))
    elif not margin.is_rate:
        _turn(answers.predicted, rest & ~keep, math.ceil(-more), _right_answers(margin, cohort))
    return answers


def _can_lose(margin: Margin, cohort: Cohort) -> NDArray[np.bool_]:
    """Return which cases another prediction than pristine's would count as lost, ``(n_cases,)``."""
    if margin.kind.event is None:
        return right(margin, cohort, cohort.pristine)
    return margin.kind.event(cohort.true, cohort.pristine.predicted, _wrong(margin, cohort))


def _predictions_of(cohort: Cohort, seen: InterimCounts) -> ConditionPredictions:
    predicted = cohort.pristine.predicted.copy()
    predicted[seen.places] = seen.predicted
    return ConditionPredictions(predicted, cohort.pristine.probabilities)


def _turn(predicted: Ints, among_these: NDArray[np.bool_], count: int, answers: Ints) -> None:
    """Give other answers to so many cases, spread evenly over those that may have them."""
    places = np.flatnonzero(among_these)
    chosen = places[np.unique(np.linspace(0, places.size - 1, min(count, places.size)).astype(int))]
    predicted[chosen] = answers[chosen]


def _wrong(margin: Margin, cohort: Cohort) -> Ints:
    """Return an answer per case that loses, where pristine's is right, in the metric's sense."""
    if margin.label and not margin.is_rate and is_share(margin):
        return _first(margin, cohort, hit=False)
    return np.asarray((cohort.pristine.predicted + 1) % len(cohort.labels))


def _right_answers(margin: Margin, cohort: Cohort) -> Ints:
    if margin.label and not margin.is_rate and is_share(margin):
        return _first(margin, cohort, hit=True)
    return cohort.true


def _first(margin: Margin, cohort: Cohort, *, hit: bool) -> Ints:
    """Return per case the first class that is a hit of a share, or none, if predicted."""
    of_class = [np.full_like(cohort.true, k) for k in range(len(cohort.labels))]
    none = cohort.pristine.probabilities
    hits = np.stack([right(margin, cohort, ConditionPredictions(one, none)) for one in of_class], 1)
    return np.asarray((hits == hit).argmax(1))
