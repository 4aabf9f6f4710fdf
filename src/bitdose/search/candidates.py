"""Points in a race: what is known of each, from the cases that it has been measured on."""

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
from bitdose.search.futility import InterimCounts, given_up, seen_of
from bitdose.stats.noninferiority import untestable

if TYPE_CHECKING:
    import polars as pl


class CandidateState(Enum):
    """What is known of a point."""

    UNSEEN = "not measured"
    OPEN = "measured on some cases, and may pass"
    OUT = "failed, or given up"
    IN_TURN = "passes after the one before it"
    ALONE = "passes alone"


@dataclass(frozen=True)
class Candidate:
    """A point in the race.

    Parameters
    ----------
    point : str
        Its text form.
    verdict : CandidateState
        What is known of it.
    seen : int
        Cases it has been measured on.
    in_turn, alone : PointTest or None
        Its tests at the two levels; before all cases are seen, ``in_turn`` holds its costs so far, and
        why it was given up if it was.
    """

    point: str
    verdict: CandidateState = CandidateState.UNSEEN
    seen: int = 0
    in_turn: PointTest | None = None
    alone: PointTest | None = None


@dataclass(frozen=True)
class Judge:
    """Judges the points of one chain on one set of cases.

    Parameters
    ----------
    in_turn, alone : Tester
        At the two levels of the chain.
    n_cases : int
        Cases that a point is to see before it is tested.
    """

    in_turn: Tester
    alone: Tester
    n_cases: int

    def runner(self, rows: pl.DataFrame, cohort: Cohort, *, give_up: bool) -> Candidate:
        """Judge one point.

        Parameters
        ----------
        rows : polars.DataFrame
            All of the point's rows.
        cohort : Cohort
            Made of the whole table: it holds the point.
        give_up : bool
            Whether it may be given up before it has seen all cases.
        """
        point = str(rows["point"][0])
        mine, seen = cohort.points[point], len(rows)
        if seen >= self.n_cases:
            return self._settled(mine, seen)
        reasons = self._reasons(seen_of(rows, cohort), cohort) if give_up else {}
        tests = tuple(self._untested(margin, reasons, cohort) for margin in self.in_turn.margins)
        verdict = CandidateState.OUT if reasons else CandidateState.OPEN
        return Candidate(point, verdict, seen, self.in_turn.with_costs(mine, tests))

    @property
    def _last_alpha(self) -> float:
        """Level at which a point must pass in the end."""
        return self.in_turn.alpha

    def _settled(self, mine: PointRows, seen: int) -> Candidate:
        test = self.in_turn.test(mine)
        if not test.passed:
            return Candidate(mine.point, CandidateState.OUT, seen, test)
        severe = self.alone.test(mine)
        return Candidate(
            mine.point, CandidateState.ALONE if severe.passed else CandidateState.IN_TURN, seen, test, severe
        )

    def _reasons(self, seen: InterimCounts, cohort: Cohort) -> dict[Margin, str]:
        """Return why the point is given up, by margin; empty where it is not."""
        margins = self.in_turn.margins
        if seen.failed:
            reason = (
                f"{seen.failed} of {seen.failed + seen.places.size} cases have no prediction at this point"
            )
            return dict.fromkeys(margins, reason)
        weights, alpha = self.in_turn.weights, self._last_alpha
        found = {margin: given_up(margin, cohort, seen, weights, alpha=alpha) for margin in margins}
        return {margin: reason for margin, reason in found.items() if reason}

    def _untested(self, margin: Margin, reasons: Mapping[Margin, str], cohort: Cohort) -> MarginTest:
        n, unit = cohort.units(cohort.true >= 0)
        reason = reasons.get(margin, "not all cases were measured")
        test = untestable(reason, margin=margin.limit, alpha=self.in_turn.alpha, n=n, unit=unit)
        return MarginTest(margin, math.nan, math.nan, test)


@dataclass(frozen=True)
class Scout(Judge):
    """Judges points of the first of two splits: what seems likelier than not to pass is a candidate.

    Nothing is certified there, so there is no level to hold.
    """

    @property
    def _last_alpha(self) -> float:
        return LIKELY

    def _settled(self, mine: PointRows, seen: int) -> Candidate:
        test = self.in_turn.test(mine)
        return Candidate(
            mine.point, CandidateState.ALONE if worst_p(test) < LIKELY else CandidateState.OUT, seen, test
        )


@dataclass(frozen=True)
class Standing:
    """How far a chain has come.

    Parameters
    ----------
    anchor : int
        Index of the harshest point that passes alone; -1 for none.
    certified : int
        Index of the harshest point that passes, alone or in turn; -1 for none.
    stop : int
        Index of the first point after it that is out; the number of points for none.
    unsettled : tuple of int
        Points between the two that have not seen all cases.
    """

    anchor: int
    certified: int
    stop: int
    unsettled: tuple[int, ...]


def standing_of(verdicts: Sequence[CandidateState]) -> Standing:
    """Read the verdicts of a chain, from mild to harsh.

    Examples
    --------
    >>> state = CandidateState
    >>> standing_of([state.ALONE, state.IN_TURN, state.UNSEEN, state.OUT, state.UNSEEN])
    Standing(anchor=0, certified=1, stop=3, unsettled=(2,))
    """
    anchor = max((at for at, verdict in enumerate(verdicts) if verdict is CandidateState.ALONE), default=-1)
    certified = anchor
    while certified + 1 < len(verdicts) and verdicts[certified + 1] is CandidateState.IN_TURN:
        certified += 1
    beyond = range(certified + 1, len(verdicts))
    stop = next((at for at in beyond if verdicts[at] is CandidateState.OUT), len(verdicts))
    settled = (CandidateState.OUT, CandidateState.IN_TURN, CandidateState.ALONE)
    return Standing(
        anchor, certified, stop, tuple(at for at in range(certified + 1, stop) if verdicts[at] not in settled)
    )
