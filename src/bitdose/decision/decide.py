"""From a results table and a rule to a decision: the pure heart of ``bitdose decide``."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitdose.decision.base import ChainTest, Decision, MarginTest, PointTest, RequiredSampleSize
from bitdose.decision.fixed_sequence import Seconds, Tester, chains_of
from bitdose.decision.margin_tests import among, changed_share, is_share
from bitdose.decision.registration import check_complete, is_registered
from bitdose.errors import UsageError, argument
from bitdose.results.predictions import Cohort, check_disjoint, make_cohort
from bitdose.rule.margins import check_labels
from bitdose.rule.rule import Rule
from bitdose.stats.noninferiority import cases_needed

if TYPE_CHECKING:
    import polars as pl

LIKELY = 0.5  # p-value under which a point of the first split is a candidate
_SAME_SECONDS = 1.02


def decide(
    table: pl.DataFrame,
    rule: Rule,
    *,
    seconds: Seconds | None = None,
    manifest: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Decision:
    """Find the best point whose loss is shown to be within every margin.

    Parameters
    ----------
    table : polars.DataFrame
        Results of one model, columns as in ``results/schema.py``.
    rule : Rule
        Margins, alpha, order, splits, objective.
    seconds : callable, optional
        From coded bytes per exam ``(n,)`` to seconds per exam ``(n,)`` on the rule's link.
    manifest : mapping, optional
        Of the run that the table is of: the decision says from it whether the rule was registered before the
        run, and is refused where the table is not the whole run. Without it, nothing was registered.
    seed : int
        Seed of the weightings, with the names of the cases.

    Returns
    -------
    Decision
        ``certified`` is None where no point passes.

    Raises
    ------
    UsageError
        If the table has no pristine rows, several models, not the split asked for, no coded point,
        an order that names what is not there, a margin for a class that is not there, or if the table is
        not the whole of the manifest's run.
    BitdoseError
        If no case was classified at pristine.
    """
    if manifest is not None:
        check_complete(table, manifest)
    call = Call(table, rule, seconds, seed, manifest is not None and is_registered(manifest, rule))
    if rule.select:
        return _decide_on_two(call)
    cohort = call.cohort("")
    if rule.order:
        chain_tests = [call.tester(cohort, rule.alpha).test_in_order("order", _ordered(rule.order, cohort))]
    else:
        chains = chains_of(cohort)
        tester = call.tester(cohort, rule.alpha / len(chains))
        chain_tests = [tester.test_in_order(name, points) for name, points in chains.items()]
    return call.decision(cohort, chain_tests)


@dataclass(frozen=True)
class Call:
    """What one decision is made of: the parameters of :func:`decide`."""

    table: pl.DataFrame
    rule: Rule
    seconds: Seconds | None
    seed: int
    preregistered: bool = False

    def cohort(self, split: str, *, coded: bool = True) -> Cohort:
        """Read a split's cohort; ``coded`` says that there must be a point besides pristine."""
        found = make_cohort(self.table, split)
        check_labels(self.rule.margins, found.labels)
        if coded and not found.points:
            raise UsageError("results: only pristine rows; there is no coded point to decide on")
        return found

    def disjoint_from(self, first: str, second: str) -> Cohort:
        """Read the second split's cohort; raises ``UsageError`` if it shares a patient with the first."""
        found = self.cohort(second)
        check_disjoint(self.cohort(first), found)
        return found

    def has(self, split: str) -> bool:
        """Whether the table has rows of a split."""
        return split in self.table["case_split"]

    def rows_by_point(self, split: str) -> dict[str, pl.DataFrame]:
        """Return a split's rows, point by point."""
        rows = self.table if not split else self.table.filter(self.table["case_split"] == split)
        return {str(point): part for (point,), part in rows.partition_by("point", as_dict=True).items()}

    def tester(self, cohort: Cohort, alpha: float) -> Tester:
        """Make a tester of points at a level."""
        return Tester.of(cohort, self.rule.margins, alpha=alpha, seed=self.seed, seconds=self.seconds)

    def decision(
        self, cohort: Cohort, chain_tests: Sequence[ChainTest], candidates: Sequence[str] = ()
    ) -> Decision:
        """Choose among what passed, and say what was missing where nothing did."""
        passed = [test for chain in chain_tests for test in chain.passed]
        certified = best(passed, self.rule)
        return Decision(
            rule=self.rule,
            model=str(self.table["model"][0] or ""),
            labels=cohort.labels,
            chain_tests=tuple(chain_tests),
            certified=certified,
            candidates=tuple(candidates),
            pareto=tuple(test.point for test in pareto(passed, self.rule)),
            required_sample_sizes=() if certified else _sample_sizes(cohort, chain_tests),
            n_cases=len(cohort.case_ids),
            n_patients=len(cohort.patients),
            clustered=cohort.clustered,
            preregistered=self.preregistered,
            notes=(*_notes(cohort, chain_tests), *self._no_candidate(candidates)),
        )

    def _no_candidate(self, candidates: Sequence[str]) -> list[str]:
        if not self.rule.select or candidates:
            return []
        return [f"On the split {self.rule.select!r} no point seems to hold every margin: none was tested."]


def _decide_on_two(call: Call) -> Decision:
    """Choose candidates on one split and prove them in one fixed sequence on the other."""
    rule = call.rule
    first, second = call.cohort(rule.select), call.disjoint_from(rule.select, rule.confirm)
    tester = call.tester(first, rule.alpha)
    candidates = candidates_of([tester.test(rows) for rows in first.points.values()], rule)
    known = [point for point in candidates if point in second.points]
    chain_tests = [call.tester(second, rule.alpha).test_in_order("confirm", known)] if known else []
    return call.decision(second, chain_tests, candidates)


def _ordered(order: Sequence[str], cohort: Cohort) -> list[str]:
    """Turn an order of points and chains into points, each once."""
    chains, points = chains_of(cohort), {}
    for name in order:
        if name not in chains and name not in cohort.points:
            near = difflib.get_close_matches(name, [*chains, *cohort.points], n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            listed = ", ".join(chains)
            raise UsageError(
                f"{argument('order')}: {name!r} is no point or chain of the run: {hint}chains: {listed}"
            )
        points.update(dict.fromkeys(chains.get(name, [name])))
    return list(points)


def worst_p(test: PointTest) -> float:
    """Return the largest p-value of a point's margins; 1 where one is undefined."""
    return max(1.0 if math.isnan(each.test.p) else each.test.p for each in test.tests)


def cost_of(test: PointTest, rule: Rule) -> float:
    """Return what the objective makes small; where no file's size is known, a ratio is of raw pixels."""
    ratio = test.ratio_pixels if math.isnan(test.ratio_file) else test.ratio_file
    return {"ratio": -ratio, "bytes": test.mean_bytes, "seconds": test.seconds}[rule.objective]


def pareto(tests: Iterable[PointTest], rule: Rule) -> list[PointTest]:
    """Return the points that none beats in both cost and worst p-value, the surest first."""
    front: list[PointTest] = []
    cheapest = math.inf
    for test in sorted(tests, key=lambda t: (worst_p(t), cost_of(t, rule))):
        if cost_of(test, rule) < cheapest:
            front.append(test)
            cheapest = cost_of(test, rule)
    return front


def candidates_of(tests: Sequence[PointTest], rule: Rule) -> list[str]:
    """Choose what to prove: the Pareto front of the points likely to pass, the surest first."""
    _check_costs(tests, rule)
    return [test.point for test in pareto([t for t in tests if worst_p(t) < LIKELY], rule)]


def _check_costs(tests: Iterable[PointTest], rule: Rule) -> None:
    unknown = next((test.point for test in tests if math.isnan(cost_of(test, rule))), None)
    if unknown:
        raise UsageError(
            f"results: the size of {unknown} is not known for every case, so no best point by "
            f"{rule.objective} can be chosen; fill the bytes_ columns"
        )


def best(passed: Sequence[PointTest], rule: Rule) -> PointTest | None:
    """Return the best of the points that passed.

    By seconds, points within 2 % of the fewest count as equal, and of these the one with the most
    bytes is taken: below the link's knee fewer bytes buy nothing.
    """
    if not passed:
        return None
    _check_costs(passed, rule)
    if rule.objective != "seconds":
        return min(passed, key=lambda test: cost_of(test, rule))
    fewest = min(test.seconds for test in passed)
    as_quick = [test for test in passed if test.seconds <= _SAME_SECONDS * fewest]
    return max(as_quick, key=lambda test: test.mean_bytes)


def _notes(cohort: Cohort, chain_tests: Sequence[ChainTest]) -> tuple[str, ...]:
    found = []
    if cohort.n_left_out:
        found.append(f"{cohort.n_left_out} cases have no prediction at pristine and are left out.")
    if not cohort.patients_named:
        found.append("No patient is named: each case counts as a patient of its own.")
    if len(cohort.splits) > 1:
        together = ", ".join(cohort.splits)
        found.append(
            f"The splits {together} stand together: cases that a classifier learnt from prove nothing."
        )
    for chain in chain_tests:
        stopped = chain.failed
        reasons = dict.fromkeys(t.test.reason for t in stopped.tests if t.test.reason) if stopped else {}
        found += [f"{chain.name}: stopped at {stopped.point}: {reason}." for reason in reasons if stopped]
    return tuple(found)


def _sample_sizes(cohort: Cohort, chain_tests: Sequence[ChainTest]) -> tuple[RequiredSampleSize, ...]:
    """Say per margin how many cases the most promising first point would need."""
    failed = [chain.failed for chain in chain_tests if chain.failed]
    if not failed:
        return ()
    point = min(failed, key=worst_p)
    return tuple(_short_of(each, point.point, cohort) for each in point.tests)


def _short_of(each: MarginTest, point: str, cohort: Cohort) -> RequiredSampleSize:
    margin, test = each.margin, each.test
    n, _ = cohort.units(among(margin, cohort))
    # A metric of ratios has no such number: how much a case weighs depends on the class mix.
    least = cases_needed(margin.limit, alpha=test.alpha) if is_share(margin) else -1
    return RequiredSampleSize(margin, n, least, _needed(each, n, least, point, cohort), point, test.reason)


def _needed(each: MarginTest, n: int, least: int, point: str, cohort: Cohort) -> int:
    """Return how many units would do if further ones behave like these; -1 where none would."""
    margin, test = each.margin, each.test
    if math.isnan(test.loss) or test.loss >= margin.limit:
        return -1
    if each.passed:
        return n
    changed = test.loss if margin.is_rate else changed_share(margin, cohort, cohort.points[point].predictions)
    if cohort.clustered or not is_share(margin):
        # The limit shrinks as 1/sqrt(n), and as 1/n where no prediction has changed.
        gap = (test.upper - test.loss) / (margin.limit - test.loss)
        return max(least, math.ceil(n * gap ** (2 if changed else 1)))
    return cases_needed(margin.limit, alpha=test.alpha, loss=test.loss, changed=changed)
