"""Giving up early: a point that can no longer pass need not see the rest of the cases.

Stochastic curtailment (Lan, Simon & Halperin 1982): the cases not seen yet are filled in as kindly as
what was seen allows, and if the test on all cases fails even so, the point is given up. It can only turn
a pass into a failure, so no guarantee depends on it; ``benchmarks/search.py`` shows how seldom it changes
an answer.

Filled in are answers, so metrics of answers can be curtailed: shares of cases, rates of flips, precision
and F1. AUROC, the Brier score and calibration see all cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitdose.decision.cohort import Answers, Cohort, indices_of
from bitdose.decision.dirichlet import DirichletWeights
from bitdose.decision.margin_tests import among, check_margin, right
from bitdose.results.schema import OK
from bitdose.rule.margins import Margin
from bitdose.stats.proportions import tango

if TYPE_CHECKING:
    import polars as pl

Ints = NDArray[np.int64]

_DOUBT = 0.01  # chance that the rest is kinder than what is filled in
_OF_PROBABILITIES = {"auroc", "brier", "ece"}


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
    return InterimCounts(places, indices_of(ok["predicted"], cohort.labels), len(mine) - len(ok))


def given_up(
    margin: Margin, cohort: Cohort, seen: InterimCounts, draws: DirichletWeights, *, alpha: float
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
    draws : DirichletWeights
        Weightings of the cohort's patients.
    alpha : float
        Level of the test on all cases.

    References
    ----------
    Lan, Simon & Halperin 1982, Commun Stat C 1:207.
    """
    if margin.metric in _OF_PROBABILITIES or not seen.places.size:
        return ""
    filled = _filled_in(margin, cohort, seen)
    if filled is None or check_margin(margin, cohort, filled, draws, alpha=alpha).passed:
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
    then, now = cohort.pristine.predicted[seen.places][mine], seen.predicted[mine]
    if margin.metric == "flips":
        return np.zeros(then.size, bool), then != now
    before = right(margin, cohort, cohort.pristine)[seen.places][mine]
    after = right(margin, cohort, _answers_of(cohort, seen))[seen.places][mine]
    lost = before & ~after
    return (np.zeros_like(lost) if margin.is_rate else after & ~before), lost


def _filled_in(margin: Margin, cohort: Cohort, seen: InterimCounts) -> Answers | None:
    """Return answers on all cases, the unseen as kind as the seen allow; None if nothing is known."""
    gained, lost = _changes(margin, cohort, seen)
    if not lost.size:
        return None
    rest = among(margin, cohort)
    rest[seen.places] = False
    least = -tango(int(gained.sum()), int(lost.sum()), lost.size, level=1 - 2 * _DOUBT).high
    more = least * int(rest.sum())
    answers = _answers_of(cohort, seen)
    keep = np.ones_like(rest) if margin.metric == "flips" else right(margin, cohort, cohort.pristine)
    if more > 0:
        _turn(answers.predicted, rest & keep, math.floor(more), _wrong(margin, cohort))
    elif not margin.is_rate:
        _turn(answers.predicted, rest & ~keep, math.ceil(-more), _right_answers(margin, cohort))
    return answers


def _answers_of(cohort: Cohort, seen: InterimCounts) -> Answers:
    predicted = cohort.pristine.predicted.copy()
    predicted[seen.places] = seen.predicted
    return Answers(predicted, cohort.pristine.probabilities)


def _turn(predicted: Ints, among_these: NDArray[np.bool_], count: int, answers: Ints) -> None:
    """Give other answers to so many cases, spread evenly over those that may have them."""
    places = np.flatnonzero(among_these)
    chosen = places[np.unique(np.linspace(0, places.size - 1, min(count, places.size)).astype(int))]
    predicted[chosen] = answers[chosen]


def _wrong(margin: Margin, cohort: Cohort) -> Ints:
    """Return an answer per case that loses, where pristine's is right, in the metric's sense."""
    if margin.metric == "specificity":
        return np.full_like(cohort.true, cohort.labels.index(margin.label))
    return np.asarray((cohort.pristine.predicted + 1) % len(cohort.labels))


def _right_answers(margin: Margin, cohort: Cohort) -> Ints:
    if margin.metric == "specificity":
        return np.full_like(cohort.true, (cohort.labels.index(margin.label) + 1) % len(cohort.labels))
    return cohort.true
