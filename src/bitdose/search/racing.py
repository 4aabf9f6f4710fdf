"""The certified point without the whole grid: what to measure next, until the full walk's answer is known.

The points of a grid race (Maron & Moore 1997): each sees a few cases, then twice as many, and is given up
as soon as it can no longer pass (``curtail.py``). On each chain the boundary is bisected on few cases, then
on more, then on all. Beyond a pilot one chain goes on at a time, the one that promises most, and a chain
measures only what could beat the best point so far.

**Two ways to pass.** A chain has a level. A fiftieth of it is split evenly over its points: one that passes
at that severe level passes *alone*. The rest is the level of a walk: the points after the harshest one that
passed alone pass *in turn*, each after the one before it.

**Why the level holds**, whatever was measured, in whatever order and for whatever reason: let the true loss
not fall along the chain, and call the points from the first that loses a margin on *bad*. The chance that any
bad point passes alone is at most the fiftieth (Bonferroni). Where none does, the walk starts below the first
bad point, and to certify any it must pass this very one, at the rest of the level. The full walk
(``decide``) needs no such order of the losses, and neither does a proof on a second split.

**With two splits** nothing is certified on the first, so its points need no level: each that may still be
likelier than not to pass is measured there, and the candidates are the full grid's.
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

ALONE_SHARE = 0.02
FIRST_LOOK = 12
_PILOT = 24  # cases up to which every chain that may win goes on, beside the one that promises most
_FILL_BY = 4  # a mild point is expected to pass, so its looks grow faster than a boundary's
_AT_ONCE = 4
_STANDARD_ERRORS = 4  # by so many a point must be costlier than another, on the same cases, to count as it


@dataclass(frozen=True)
class Request:
    """What has to be measured before the race can go on.

    Parameters
    ----------
    split : str
        Split whose cases are needed; empty for all.
    points : tuple of (str, int)
        Points, and how many cases of the split each must have seen.
    """

    split: str
    points: tuple[tuple[str, int], ...]


class Racing:
    """A search for one rule over one grid: given what is measured, it decides or says what to measure next.

    Parameters
    ----------
    rule : Rule
        As for ``decide``; ``order`` must be empty. With two splits the race is run on the first, and its
        candidates are proved one by one on the second at the whole level.
    grid : mapping
        Every chain's points from mild to harsh.
    sizes : mapping
        Number of cases by split; under the empty name, of all.
    seconds, seed
        As for ``decide``.

    Notes
    -----
    What it says is a function of its parameters and the table alone; tests made before are kept.
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
        """Ask for pristine on all cases, and for first looks: each chain's middle, or all before a proof."""
        n = self.sizes[self.rule.select]
        if self.rule.select:
            first = [(point, _depths(n)[0]) for points in self.grid.values() for point in points]
        else:
            first = [(points[(len(points) - 1) // 2], min(FIRST_LOOK, n)) for points in self.grid.values()]
        return Request(self.rule.select, ((PRISTINE, n), *first))

    def step(self, table: pl.DataFrame) -> Decision | Request:
        """Go on from a table that holds what was asked for so far.

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
        walks = [_walk(name, runners, alpha) for name, runners in chains.items()]
        return call.decision(call.cohort(""), walks)

    @property
    def _in_turn_alpha(self) -> float:
        return self.rule.alpha / len(self.grid) * (1 - ALONE_SHARE)

    def _alone_alpha(self, n_points: int) -> float:
        return self.rule.alpha / len(self.grid) * ALONE_SHARE / n_points

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
                # The mildest sees all cases: how far it is from passing tells how many would be needed.
                runner = judge.runner(rows[point], cohort, give_up=point != points[0])
                self._judged[point, seen] = runner
            found.append(self._judged[point, seen] if seen else Candidate(point))
        return found

    def _judge(self, call: Call, cohort: Cohort, n_points: int) -> Judge:
        n = self.sizes[self.rule.select]
        if self.rule.select:
            tester = self._tester(call, cohort, self.rule.alpha)
            return Scout(tester, tester, n)
        in_turn = self._tester(call, cohort, self._in_turn_alpha)
        return Judge(in_turn, self._tester(call, cohort, self._alone_alpha(n_points)), n)

    def _for_candidates(self, chains: Chains) -> list[tuple[str, int]]:
        """Return every point that may become a candidate: on few cases, then on more, then on all."""
        may = [r for runners in chains.values() for r in runners if r.verdict is not CandidateState.OUT]
        wanted = (
            [(r.point, depth) for r in may if r.seen < depth]
            for depth in _depths(self.sizes[self.rule.select])
        )
        return next((points for points in wanted if points), [])

    def _wanted(self, chains: Chains, costs: _Costs) -> list[tuple[str, int]]:
        """Return what to measure next: the lead's next look, and all pilots; nothing if all is settled."""
        if not self._may_pass(self._in_turn_alpha):  # too few cases: one point tells how many it takes
            mildest, n = next(iter(chains.values()))[0], self.sizes[self.rule.select]
            return [(mildest.point, n)] if mildest.seen < n else []
        standings = {name: standing_of([r.verdict for r in runners]) for name, runners in chains.items()}
        tests = [test for name, runners in chains.items() for test in _passed(runners, standings[name])]
        champion = best(tests, self.rule)
        floors = {name: costs.floor(runners, champion) for name, runners in chains.items()}
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

    def _on_chain(self, runners: Sequence[Candidate], at: Standing, floor: int) -> list[tuple[str, int]]:
        """Find the boundary by bisection on few cases, then on more, then on all; then fill up below it.

        A point that passes on all cases, but not alone, needs every point down to one that does.
        """
        n = self.sizes[self.rule.select]
        for depth in _depths(n):
            good = [k for k in range(at.certified + 1, at.stop) if runners[k].seen >= depth]
            low = max([at.certified, floor, *good])
            if at.stop - low > 1:
                middle = (low + at.stop) // 2
                pair = dict.fromkeys((middle, (middle + at.stop) // 2))  # the second likely comes next
                look = min(_next_look(runners[middle].seen, n), depth)
                return [(runners[k].point, look) for k in pair if runners[k].seen < look]
        below = [runners[k] for k in at.unsettled if k < low][-_AT_ONCE:]
        look = _next_look(min(runner.seen for runner in below), n, by=_FILL_BY)
        return [(runner.point, look) for runner in below if runner.seen < look]

    def _may_pass(self, alpha: float) -> bool:
        """Whether a point without any loss would pass at a level: with few cases none would."""
        if alpha not in self._reachable:
            tester = self._testers[alpha]
            self._reachable[alpha] = all(test.passed for test in tester.margins_of(tester.cohort.pristine))
        return self._reachable[alpha]

    def _confirm(self, call: Call, chains: Chains) -> Decision | Request:
        """Prove the first split's candidates on the second, the surest first, each when it is its turn."""
        rule, n = self.rule, self.sizes[self.rule.confirm]
        complete = self.sizes[rule.select]
        tests = [
            r.in_turn for runners in chains.values() for r in runners if r.in_turn and r.seen >= complete
        ]
        candidates = candidates_of(tests, rule)
        if not candidates:
            return call.decision(call.cohort(rule.select), (), candidates)
        if not call.has(rule.confirm):
            return Request(rule.confirm, ((PRISTINE, n), (candidates[0], n)))
        cohort = call.disjoint_from(rule.select, rule.confirm)
        known = candidates[: next((k for k, p in enumerate(candidates) if p not in cohort.points), None)]
        walk = call.tester(cohort, rule.alpha).test_in_order("confirm", known)
        if walk.failed is None and len(known) < len(candidates):
            return Request(rule.confirm, ((candidates[len(known)], n),))
        untested = tuple(candidates[len(walk.tested) :])
        return call.decision(cohort, [replace(walk, untested=untested)], candidates)


class _Costs:
    """Compares what points cost on the cases that both have seen."""

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
        """Return the cost of a point over that of another; 1 where they share no case."""
        return self._ratio(point, other)[0]

    def _ratio(self, point: str, other: str) -> tuple[float, float]:
        key = point, len(self._rows[point]), other, len(self._rows[other])
        if key not in self._known:
            self._known[key] = self._measured(point, other)
        return self._known[key]

    def _measured(self, point: str, other: str) -> tuple[float, float]:
        """Return the ratio of costs on the cases that both have seen, with its standard error."""
        mine, theirs = (self._rows[p].select("case_id", "bytes_coded").drop_nulls() for p in (point, other))
        both = mine.join(theirs, on="case_id", suffix="_other").sort("case_id")
        if not len(both):
            return 1.0, math.inf
        pair = [both[name].to_numpy() for name in ("bytes_coded", "bytes_coded_other")]
        a, b = (self._seconds(values) if self._seconds else values.astype(float) for values in pair)
        ratio = float(a.sum() / b.sum())
        return ratio, float(np.sqrt(((a - ratio * b) ** 2).sum()) / b.sum())

    def floor(self, runners: Sequence[Candidate], champion: PointTest | None) -> int:
        """Return the place of a chain's harshest point that is clearly costlier than the champion, or -1."""
        if champion is None:
            return -1
        ratios = {k: self._ratio(r.point, champion.point) for k, r in enumerate(runners) if r.seen}
        costlier = (k for k, (ratio, error) in ratios.items() if ratio - _STANDARD_ERRORS * error > 1)
        return max(costlier, default=-1)


def _next_look(seen: int, n: int, *, by: int = 2) -> int:
    """Return how many cases a point is to have seen next: ``by`` times as many, all if that is most.

    Examples
    --------
    >>> [_next_look(k, 300) for k in (0, 12, 96, 192)]
    [12, 24, 192, 300]
    """
    look = max(FIRST_LOOK, by * seen)
    return n if 4 * look > 3 * n else look


def _depths(n: int) -> list[int]:
    """Return on how many cases a boundary is looked for, one after the other.

    Examples
    --------
    >>> _depths(1000)
    [24, 96, 384, 1000]
    """
    depths = [2 * FIRST_LOOK]
    while 2 * depths[-1] < n:
        depths.append(4 * depths[-1])
    return [*(depth for depth in depths if 4 * depth < 3 * n), n]


def _promise(runners: Sequence[Candidate], at: Standing) -> str:
    """Return a chain's harshest point that is not out, or its mildest measured one."""
    measured = [(k, r.point) for k, r in enumerate(runners) if r.seen]
    return next((point for k, point in reversed(measured) if k < at.stop), measured[0][1])


def _passed(runners: Sequence[Candidate], at: Standing) -> list[PointTest]:
    """Return the tests that certify: of points that pass alone, and in turn from the last of these on."""
    alone = [r.alone for r in runners if r.verdict is CandidateState.ALONE]
    in_turn = [r.in_turn for r in runners[at.anchor + 1 : at.certified + 1]]
    return [test for test in (*alone, *in_turn) if test is not None]


def _walk(name: str, runners: Sequence[Candidate], alpha: float) -> ChainTest:
    """Tell a chain's race as a walk: what passed and what is out, from mild to harsh, and the rest."""
    passed = {test.point: test for test in _passed(runners, standing_of([r.verdict for r in runners]))}
    out = {r.point: r.in_turn for r in runners if r.verdict is CandidateState.OUT and r.in_turn}
    tested = [(passed | out)[r.point] for r in runners if r.point in passed or r.point in out]
    seen = {test.point for test in tested}
    untested = tuple(r.point for r in runners if r.point not in seen)
    return ChainTest(name, alpha, tuple(tested), untested, searched=True)
