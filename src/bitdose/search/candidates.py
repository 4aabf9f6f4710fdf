"""Candidates of a race: the state of each point, given the cases measured so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from bitdose.decision.base import MarginTest, PointTest
from bitdose.decision.decide import LIKELY, worst_p
from bitdose.decision.fixed_sequence import Tester
from bitdose.results.predictions import Cohort, PointRows
from bitdose.rule.margins import Margin
from bitdose.search.futility import InterimCounts, futility_reason, interim_counts
from bitdose.stats.noninferiority import untestable

if TYPE_CHECKING:
    import polars as pl


class CandidateState(Enum):
    """State of a candidate point."""

    UNSEEN = "not measured"
    OPEN = "measured on some cases, may still pass"
    OUT = "failed, or stopped for futility"
    SEQUENTIAL = "passes the sequential test"
    INDIVIDUAL = "passes the individual test"


@dataclass(frozen=True)
class Candidate:
    """One operating point in the race.

    Parameters
    ----------
    point : str
        Text form of the point.
    state : CandidateState
        State of the point.
    seen : int
        Number of cases measured.
    sequential, individual : PointTest or None
        Tests at the two levels. Before all cases are measured, ``sequential`` holds the costs so far and
        the reason of a stop for futility, if any.
    """

    point: str
    state: CandidateState = CandidateState.UNSEEN
    seen: int = 0
    sequential: PointTest | None = None
    individual: PointTest | None = None


@dataclass(frozen=True)
class Judge:
    """Tests of the points of one chain on one set of cases.

    Parameters
    ----------
    sequential, individual : Tester
        Tests at the two levels of the chain.
    n_cases : int
        Number of cases required before a point is tested.
    """

    sequential: Tester
    individual: Tester
    n_cases: int

    def candidate(self, rows: pl.DataFrame, cohort: Cohort, *, may_stop: bool) -> Candidate:
        """Return the state of one point.

        Parameters
        ----------
        rows : polars.DataFrame
            All rows of the point.
        cohort : Cohort
            Cohort of the whole table, which includes the point.
        may_stop : bool
            Whether the point may be stopped for futility before all cases are measured.
        """
        point = str(rows["point"][0])
        mine, seen = cohort.points[point], len(rows)
        if seen >= self.n_cases:
            return self._settled(mine, seen)
        reasons = self._reasons(interim_counts(rows, cohort), cohort) if may_stop else {}
        tests = tuple(self._untested(margin, reasons, cohort) for margin in self.sequential.margins)
        state = CandidateState.OUT if reasons else CandidateState.OPEN
        return Candidate(point, state, seen, self.sequential.with_costs(mine, tests))

    @property
    def _last_alpha(self) -> float:
        """Level of the final test of a point."""
        return self.sequential.alpha

    def _settled(self, mine: PointRows, seen: int) -> Candidate:
        test = self.sequential.test(mine)
        if not test.passed:
            return Candidate(mine.point, CandidateState.OUT, seen, test)
        severe = self.individual.test(mine)
        return Candidate(
            mine.point,
            CandidateState.INDIVIDUAL if severe.passed else CandidateState.SEQUENTIAL,
            seen,
            test,
            severe,
        )

    def _reasons(self, seen: InterimCounts, cohort: Cohort) -> dict[Margin, str]:
        """Return the reason of a stop for futility by margin; empty to continue."""
        margins = self.sequential.margins
        if seen.failed:
            reason = (
                f"{seen.failed} of {seen.failed + seen.places.size} cases have no prediction at this point"
            )
            return dict.fromkeys(margins, reason)
        weights, alpha = self.sequential.weights, self._last_alpha
        found = {margin: futility_reason(margin, cohort, seen, weights, alpha=alpha) for margin in margins}
        return {margin: reason for margin, reason in found.items() if reason}

    def _untested(self, margin: Margin, reasons: Mapping[Margin, str], cohort: Cohort) -> MarginTest:
        n, unit = cohort.units(cohort.true >= 0)
        reason = reasons.get(margin, "not all cases were measured")
        test = untestable(reason, margin=margin.limit, alpha=self.sequential.alpha, n=n, unit=unit)
        return MarginTest(margin, math.nan, math.nan, test)


@dataclass(frozen=True)
class Scout(Judge):
    """Selection on the first of two splits: a point with an even chance to pass or better is a candidate.

    The first split certifies nothing, so it has no level to control.
    """

    @property
    def _last_alpha(self) -> float:
        return LIKELY

    def _settled(self, mine: PointRows, seen: int) -> Candidate:
        test = self.sequential.test(mine)
        return Candidate(
            mine.point,
            CandidateState.INDIVIDUAL if worst_p(test) < LIKELY else CandidateState.OUT,
            seen,
            test,
        )


@dataclass(frozen=True)
class Standing:
    """Progress of one chain.

    Parameters
    ----------
    anchor : int
        Index of the strongest point that passes its individual test; -1 for none.
    certified : int
        Index of the strongest point that passes either test; -1 for none.
    stop : int
        Index of the first point beyond ``certified`` that is out; the number of points for none.
    unsettled : tuple of int
        Indices between the two of points not yet measured on all cases.
    """

    anchor: int
    certified: int
    stop: int
    unsettled: tuple[int, ...]


def standing_of(states: Sequence[CandidateState]) -> Standing:
    """Return a chain's progress from the states of its points, from weak to strong.

    Examples
    --------
    >>> state = CandidateState
    >>> standing_of([state.INDIVIDUAL, state.SEQUENTIAL, state.UNSEEN, state.OUT, state.UNSEEN])
    Standing(anchor=0, certified=1, stop=3, unsettled=(2,))
    """
    anchor = max((at for at, state in enumerate(states) if state is CandidateState.INDIVIDUAL), default=-1)
    certified = anchor
    while certified + 1 < len(states) and states[certified + 1] is CandidateState.SEQUENTIAL:
        certified += 1
    beyond = range(certified + 1, len(states))
    stop = next((at for at in beyond if states[at] is CandidateState.OUT), len(states))
    settled = (CandidateState.OUT, CandidateState.SEQUENTIAL, CandidateState.INDIVIDUAL)
    return Standing(
        anchor, certified, stop, tuple(at for at in range(certified + 1, stop) if states[at] not in settled)
    )
