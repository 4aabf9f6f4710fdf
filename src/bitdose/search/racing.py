"""Racing: the certified point without the whole grid, by choosing what to measure next.

The points of a grid race (Maron & Moore 1997): each is measured on a few cases, then on twice as many, and
is stopped for futility as soon as it can no longer pass (``futility.py``). On each chain the boundary is
bisected on few cases, then on more, then on all. After the pilot only the most promising chain continues at
a time, and a chain measures only points that could beat the best one so far.

**Two tests.** Each chain has a level. 2 % of it is split evenly over the chain's points: a point that passes
at this small level passes its *individual* test. The remaining 98 % is the level of a *sequential* test: a
fixed-sequence test over the points beyond the strongest one that passed its individual test.

**Control of the level**, for any choice and order of measurements: assume that the true loss does not fall
along the chain, and call *bad* the points from the first one whose loss exceeds a margin. The probability
that any bad point passes its individual test is at most 2 % of the level (Bonferroni). If none does, the
fixed-sequence test starts below the first bad point and can only certify a bad one by passing that first
one, at 98 % of the level. The fixed-sequence test of the whole grid (``decide``) does not need this
monotonicity, nor does the confirmation on a second split.

**With two splits** the first certifies nothing, so no level applies there: each point that may still have an
even chance to pass is measured, and the candidates are those of the full grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bitdose.decision.base import ChainTest, Decision, PointTest
from bitdose.decision.decide import Call, best, candidates_of
from bitdose.decision.fixed_sequence import Seconds, Tester
from bitdose.results.predictions import Cohort
from bitdose.results.schema import PRISTINE
from bitdose.rule.rule import Rule
from bitdose.search.candidates import Candidate, CandidateState, Judge, Scout, Standing, standing_of

if TYPE_CHECKING:
    import polars as pl

Grid = Mapping[str, Sequence[str]]
Chains = Mapping[str, Sequence[Candidate]]

INDIVIDUAL_SHARE = 0.02
FIRST_LOOK = 12
_PILOT = 24  # cases up to which every chain that may win continues beside the most promising one
_FILL_BY = 4  # a weakly compressed point is expected to pass, so its looks grow faster than at the boundary
_AT_ONCE = 4
_STANDARD_ERRORS = 4  # difference in cost, on the same cases, from which a point counts as costlier


@dataclass(frozen=True)
class Request:
    """Measurements required before the race can continue.

    Parameters
    ----------
    split : str
        Split of the cases; empty for all.
    points : tuple of (str, int)
        Text form of each point, and the number of the split's cases required at it.
    """

    split: str
    points: tuple[tuple[str, int], ...]


class Racing:
    """Search with one rule over one grid: from the results so far, a decision or the next request.

    Parameters
    ----------
    rule : Rule
        As for ``decide``; ``order`` must be empty. With two splits the race runs on the first, and its
        candidates are confirmed sequentially on the second at the whole level.
    grid : mapping
        Points of each chain, from weak to strong.
    sizes : mapping
        Number of cases by split; the empty name holds the total.
    seconds, seed
        As for ``decide``.

    Notes
    -----
    The outcome is a function of the parameters and the table only; earlier tests are cached.
    """

    def __init__(
        self,
        rule: Rule,
        grid: Grid,
        sizes: Mapping[str, int],
        *,
        seconds: Seconds | None = None,
        seed: int = 0,
    ) -> None:
        self.rule, self.grid, self.sizes = rule, grid, sizes
        self.seed = seed
        self._seconds = seconds
        self._judged: dict[tuple[str, int], Candidate] = {}
        self._testers: dict[float, Tester] = {}
        self._reachable: dict[float, bool] = {}
        self._ratios: dict[tuple[str, int, str, int], tuple[float, float]] = {}

    @property
    def start(self) -> Request:
        """First request: pristine on all cases and each chain's middle point (all points with two splits)."""
        n = self.sizes[self.rule.select]
        if self.rule.select:
            first = [(point, _depths(n)[0]) for points in self.grid.values() for point in points]
        else:
            first = [(points[(len(points) - 1) // 2], min(FIRST_LOOK, n)) for points in self.grid.values()]
        return Request(self.rule.select, ((PRISTINE, n), *first))

    def step(self, table: pl.DataFrame) -> Decision | Request:
        """Return the decision, or the next request, from a table with all requested results.

        Raises
        ------
        UsageError
            As ``decide`` does.
        """
        call = Call(table, self.rule, self._seconds, self.seed)
        rows = call.rows_by_point(self.rule.select)
        news = {point for point, part in rows.items() if (point, len(part)) not in self._judged} | {PRISTINE}
        fresh = replace(call, table=table.filter(table["point"].is_in(list(news))))
        cohort = fresh.cohort(self.rule.select, coded=False)
        chains = {name: self._chain(fresh, cohort, rows, points) for name, points in self.grid.items()}
        if self.rule.select:
            wanted = self._for_candidates(chains)
        else:
            wanted = self._wanted(chains, _Costs(rows, self.rule, self._seconds, self._ratios))
        if wanted:
            return Request(self.rule.select, tuple(wanted))
        if self.rule.select:
            return self._confirm(call, chains)
        alpha = self.rule.alpha / len(self.grid)
        tests = [_chain_test(name, candidates, alpha) for name, candidates in chains.items()]
        return call.decision(call.cohort(""), tests)

    @property
    def _sequential_alpha(self) -> float:
        return self.rule.alpha / len(self.grid) * (1 - INDIVIDUAL_SHARE)

    def _individual_alpha(self, n_points: int) -> float:
        return self.rule.alpha / len(self.grid) * INDIVIDUAL_SHARE / n_points

    def _tester(self, call: Call, cohort: Cohort, alpha: float) -> Tester:
        if alpha not in self._testers:
            self._testers[alpha] = call.tester(cohort, alpha)
        return self._testers[alpha]

    def _chain(
        self, call: Call, cohort: Cohort, rows: Mapping[str, pl.DataFrame], points: Sequence[str]
    ) -> list[Candidate]:
        judge, found = self._judge(call, cohort, len(points)), []
        for point in points:
            seen = len(rows.get(point, ()))
            if seen and (point, seen) not in self._judged:
                # The weakest point is measured on all cases: its p-value gives the required sample size.
                candidate = judge.candidate(rows[point], cohort, may_stop=point != points[0])
                self._judged[point, seen] = candidate
            found.append(self._judged[point, seen] if seen else Candidate(point))
        return found

    def _judge(self, call: Call, cohort: Cohort, n_points: int) -> Judge:
        n = self.sizes[self.rule.select]
        if self.rule.select:
            tester = self._tester(call, cohort, self.rule.alpha)
            return Scout(tester, tester, n)
        sequential = self._tester(call, cohort, self._sequential_alpha)
        return Judge(sequential, self._tester(call, cohort, self._individual_alpha(n_points)), n)

    def _for_candidates(self, chains: Chains) -> list[tuple[str, int]]:
        """Return every point that may still be selected: on few cases, then on more, then on all."""
        may = [r for candidates in chains.values() for r in candidates if r.state is not CandidateState.OUT]
        wanted = (
            [(r.point, depth) for r in may if r.seen < depth]
            for depth in _depths(self.sizes[self.rule.select])
        )
        return next((points for points in wanted if points), [])

    def _wanted(self, chains: Chains, costs: _Costs) -> list[tuple[str, int]]:
        """Return what to measure next: the leading chain's next look and all pilots; empty at the end."""
        if not self._may_pass(
            self._sequential_alpha
        ):  # too few cases: one point gives the required sample size
            weakest, n = next(iter(chains.values()))[0], self.sizes[self.rule.select]
            return [(weakest.point, n)] if weakest.seen < n else []
        standings = {name: standing_of([r.state for r in candidates]) for name, candidates in chains.items()}
        tests = [test for name, candidates in chains.items() for test in _passed(candidates, standings[name])]
        champion = best(tests, self.rule)
        floors = {name: costs.floor(candidates, champion) for name, candidates in chains.items()}
        unfinished = [name for name, at in standings.items() if max(at.certified, floors[name]) + 1 < at.stop]
        if not unfinished:
            return []
        promises = {name: _promise(chains[name], standings[name]) for name in unfinished}
        lead = unfinished[0]
        for name in unfinished[1:]:
            if costs.relative(promises[name], promises[lead]) < 1:
                lead = name
        looks = {name: self._on_chain(chains[name], standings[name], floors[name]) for name in unfinished}
        pilots = (point for name in unfinished if name != lead for point in looks[name])
        return looks[lead] + [(point, upto) for point, upto in pilots if upto <= _PILOT]

    def _on_chain(self, candidates: Sequence[Candidate], at: Standing, floor: int) -> list[tuple[str, int]]:
        """Bisect the boundary on few cases, then on more, then on all; then measure the points below it.

        A point that passes only the sequential test needs every weaker point down to one that passes its
        individual test.
        """
        n = self.sizes[self.rule.select]
        for depth in _depths(n):
            good = [k for k in range(at.certified + 1, at.stop) if candidates[k].seen >= depth]
            low = max([at.certified, floor, *good])
            if at.stop - low > 1:
                middle = (low + at.stop) // 2
                pair = dict.fromkeys((middle, (middle + at.stop) // 2))  # the second is the likely next step
                look = min(_next_look(candidates[middle].seen, n), depth)
                return [(candidates[k].point, look) for k in pair if candidates[k].seen < look]
        below = [candidates[k] for k in at.unsettled if k < low][-_AT_ONCE:]
        look = _next_look(min(candidate.seen for candidate in below), n, by=_FILL_BY)
        return [(candidate.point, look) for candidate in below if candidate.seen < look]

    def _may_pass(self, alpha: float) -> bool:
        """Whether a point without any loss passes at a level; with too few cases none does."""
        if alpha not in self._reachable:
            tester = self._testers[alpha]
            self._reachable[alpha] = all(test.passed for test in tester.margins_of(tester.cohort.pristine))
        return self._reachable[alpha]

    def _confirm(self, call: Call, chains: Chains) -> Decision | Request:
        """Confirm the first split's candidates on the second, sequentially from the smallest p-value."""
        rule, n = self.rule, self.sizes[self.rule.confirm]
        complete = self.sizes[rule.select]
        tests = [
            r.sequential
            for candidates in chains.values()
            for r in candidates
            if r.sequential and r.seen >= complete
        ]
        candidates = candidates_of(tests, rule)
        if not candidates:
            return call.decision(call.cohort(rule.select), (), candidates)
        if not call.has(rule.confirm):
            return Request(rule.confirm, ((PRISTINE, n), (candidates[0], n)))
        cohort = call.disjoint_from(rule.select, rule.confirm)
        known = candidates[: next((k for k, p in enumerate(candidates) if p not in cohort.points), None)]
        confirmed = call.tester(cohort, rule.alpha).test_in_order("confirm", known)
        if confirmed.failed is None and len(known) < len(candidates):
            return Request(rule.confirm, ((candidates[len(known)], n),))
        untested = tuple(candidates[len(confirmed.tested) :])
        return call.decision(cohort, [replace(confirmed, untested=untested)], candidates)


class _Costs:
    """Comparison of costs between points on the cases that both were measured on."""

    def __init__(
        self,
        rows: Mapping[str, pl.DataFrame],
        rule: Rule,
        seconds: Seconds | None,
        known: dict[tuple[str, int, str, int], tuple[float, float]],
    ) -> None:
        self._rows, self._known = rows, known
        self._seconds = seconds if rule.objective == "seconds" else None

    def relative(self, point: str, other: str) -> float:
        """Return the ratio of a point's cost to another's; 1 without common cases."""
        return self._ratio(point, other)[0]

    def _ratio(self, point: str, other: str) -> tuple[float, float]:
        key = point, len(self._rows[point]), other, len(self._rows[other])
        if key not in self._known:
            self._known[key] = self._measured(point, other)
        return self._known[key]

    def _measured(self, point: str, other: str) -> tuple[float, float]:
        """Return the ratio of costs on the common cases, with its standard error."""
        mine, theirs = (self._rows[p].select("case_id", "bytes_coded").drop_nulls() for p in (point, other))
        both = mine.join(theirs, on="case_id", suffix="_other").sort("case_id")
        if not len(both):
            return 1.0, math.inf
        pair = [both[name].to_numpy() for name in ("bytes_coded", "bytes_coded_other")]
        a, b = (self._seconds(values) if self._seconds else values.astype(float) for values in pair)
        ratio = float(a.sum() / b.sum())
        return ratio, float(np.sqrt(((a - ratio * b) ** 2).sum()) / b.sum())

    def floor(self, candidates: Sequence[Candidate], champion: PointTest | None) -> int:
        """Return the index of a chain's strongest point that is clearly costlier than the champion, or -1."""
        if champion is None:
            return -1
        ratios = {k: self._ratio(r.point, champion.point) for k, r in enumerate(candidates) if r.seen}
        costlier = (k for k, (ratio, error) in ratios.items() if ratio - _STANDARD_ERRORS * error > 1)
        return max(costlier, default=-1)


def _next_look(seen: int, n: int, *, by: int = 2) -> int:
    """Return a point's next number of cases: ``by`` times as many, or all where those are most of them.

    Examples
    --------
    >>> [_next_look(k, 300) for k in (0, 12, 96, 192)]
    [12, 24, 192, 300]
    """
    look = max(FIRST_LOOK, by * seen)
    return n if 4 * look > 3 * n else look


def _depths(n: int) -> list[int]:
    """Return the increasing numbers of cases on which a boundary is bisected.

    Examples
    --------
    >>> _depths(1000)
    [24, 96, 384, 1000]
    """
    depths = [2 * FIRST_LOOK]
    while 2 * depths[-1] < n:
        depths.append(4 * depths[-1])
    return [*(depth for depth in depths if 4 * depth < 3 * n), n]


def _promise(candidates: Sequence[Candidate], at: Standing) -> str:
    """Return a chain's strongest measured point that is not out, or else its weakest measured one."""
    measured = [(k, r.point) for k, r in enumerate(candidates) if r.seen]
    return next((point for k, point in reversed(measured) if k < at.stop), measured[0][1])


def _passed(candidates: Sequence[Candidate], at: Standing) -> list[PointTest]:
    """Return the passed tests: the individual ones, and the sequential ones beyond the last of these."""
    individual = [r.individual for r in candidates if r.state is CandidateState.INDIVIDUAL]
    sequential = [r.sequential for r in candidates[at.anchor + 1 : at.certified + 1]]
    return [test for test in (*individual, *sequential) if test is not None]


def _chain_test(name: str, candidates: Sequence[Candidate], alpha: float) -> ChainTest:
    """Return a chain's race as a fixed-sequence test: passed and failed points, then the untested ones."""
    passed = {test.point: test for test in _passed(candidates, standing_of([r.state for r in candidates]))}
    out = {r.point: r.sequential for r in candidates if r.state is CandidateState.OUT and r.sequential}
    tested = [(passed | out)[r.point] for r in candidates if r.point in passed or r.point in out]
    seen = {test.point for test in tested}
    untested = tuple(r.point for r in candidates if r.point not in seen)
    return ChainTest(name, alpha, tuple(tested), untested, searched=True)
