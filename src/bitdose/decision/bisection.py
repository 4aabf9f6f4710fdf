"""Finding the certified point without the whole grid: bisection on each chain, its level kept.

Each step tests the point in the middle of what is open. A point that passes opens the stronger half
and gives its level back; one that fails spends it. A step takes what is left over the number of
steps that can still come, so that the levels spent never exceed the chain's.

Why the level holds: let the true loss not fall along the chain, and call the points from the first
that loses a margin on *bad*. As long as every good point tested has passed and every bad one has
failed, the steps are the same whatever the data: passes lead up, failures down. Once a good point
fails, no bad one is tested any more. So the bad points tested before any of them passes form one
fixed list, and their levels add up to no more than the chain's. This needs the true loss to grow
along the chain; the full walk (``decide``) does not, and neither does a proof on a second split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bitdose.decision.base import Decision, PointTest, Walk
from bitdose.decision.cohort import Cohort
from bitdose.decision.decide import Call, candidates_of
from bitdose.decision.rule import Rule
from bitdose.decision.walk import Seconds

if TYPE_CHECKING:
    import polars as pl

Grid = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Bisection:
    """The state of the search on one chain.

    Parameters
    ----------
    points : tuple of str
        The chain from mild to harsh.
    left : float
        Level not yet spent.
    passed : int
        Index of the strongest point that passed; -1 for none.
    failed : int
        Index of the mildest point that failed; the number of points for none.

    Examples
    --------
    >>> state = Bisection(("q90", "q50", "q10"), left=0.05)
    >>> state.next, state.level
    (1, 0.025)
    >>> state = state.after(passed=False)
    >>> state.next, state.level
    (0, 0.025)
    >>> state.after(passed=True).next
    -1
    """

    points: tuple[str, ...]
    left: float
    passed: int = -1
    failed: int = -1

    def __post_init__(self) -> None:
        """Open the whole chain."""
        if self.failed < 0:
            object.__setattr__(self, "failed", len(self.points))

    @property
    def next(self) -> int:
        """Index of the point to test; -1 when the boundary is found."""
        return (self.passed + self.failed) // 2 if self.failed - self.passed > 1 else -1

    @property
    def level(self) -> float:
        """Level of the next test: what is left, over the steps that can still come."""
        steps = (self.failed - self.passed - 1).bit_length()
        return self.left / max(1, steps)

    def after(self, *, passed: bool) -> Bisection:
        """Return the state after the next point was tested."""
        if passed:
            return replace(self, passed=self.next)
        return replace(self, failed=self.next, left=self.left - self.level)


@dataclass(frozen=True)
class Pending:
    """What a search needs before it can go on.

    Parameters
    ----------
    split : str
        Split whose cases are needed; empty for all.
    points : tuple of str
        Points to measure on them.
    """

    split: str
    points: tuple[str, ...]


def bisect(
    table: pl.DataFrame,
    rule: Rule,
    grid: Grid,
    *,
    seconds: Seconds | None = None,
    seed: int = 0,
    preregistered: bool = False,
) -> Decision | Pending:
    """Go as far as a table allows: a decision, or the points that have to be measured next.

    Parameters
    ----------
    table : polars.DataFrame
        Results so far: pristine, and the points measured.
    rule : Rule
        As for ``decide``; ``order`` must be empty. With two splits the first is bisected, and the
        candidates are proved one by one on the second at the whole level, which needs no
        assumption on the losses.
    grid : mapping
        Every chain's points from mild to harsh.
    seconds, seed, preregistered
        As for ``decide``.

    Raises
    ------
    UsageError
        As ``decide`` does.
    """
    call = Call(table, rule, seconds, seed, preregistered)
    cohort = call.cohort(rule.select, coded=False)
    alpha = rule.alpha if rule.select else rule.alpha / len(grid)
    walks, pending = [], []
    for name, points in grid.items():
        walk, needed = _bisect_chain(call, cohort, name, Bisection(tuple(points), alpha))
        walks.append(walk)
        pending += needed
    if pending:
        return Pending(rule.select, tuple(pending))
    if rule.select:
        return _confirm(call, [test for walk in walks for test in walk.tested])
    return call.decision(cohort, walks)


def _bisect_chain(call: Call, cohort: Cohort, name: str, state: Bisection) -> tuple[Walk, list[str]]:
    """Test until the boundary, or until a point is not there."""
    whole = state
    tested: list[PointTest] = []
    while state.next >= 0:
        point = state.points[state.next]
        if point not in cohort.points:
            return Walk(name, whole.left, tuple(tested), (), bisected=True), [point]
        tested.append(call.tester(cohort, state.level).test(cohort.points[point]))
        state = state.after(passed=tested[-1].passed)
    seen = {test.point for test in tested}
    untested = tuple(point for point in state.points if point not in seen)
    return Walk(name, whole.left, tuple(tested), untested, bisected=True), []


def _confirm(call: Call, tested: Sequence[PointTest]) -> Decision | Pending:
    """Prove the first split's candidates on the second, the surest first, each only when it is its turn."""
    rule = call.rule
    candidates = candidates_of(tested, rule)
    if not candidates:
        return call.decision(call.cohort(rule.select), (), candidates)
    if not call.has(rule.confirm):
        return Pending(rule.confirm, tuple(candidates[:1]))
    cohort = call.disjoint_from(rule.select, rule.confirm)
    known = candidates[: next((n for n, p in enumerate(candidates) if p not in cohort.points), None)]
    walk = call.tester(cohort, rule.alpha).walk("confirm", known)
    if walk.failed is None and len(known) < len(candidates):
        return Pending(rule.confirm, (candidates[len(known)],))
    untested = tuple(candidates[len(walk.tested) :])
    return call.decision(cohort, [replace(walk, untested=untested)], candidates)
