"""A decision in words that a physician can read, and its evidence as rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bitdose.decision.base import ChainTest, Decision, MarginTest, PointTest, RequiredSampleSize
from bitdose.report.findings.phrasing import metric_words, point_words, shown_amount, times
from bitdose.report.findings.sentences import counted
from bitdose.results.schema import OK, PRISTINE

if TYPE_CHECKING:
    from polars import DataFrame

_OBJECTIVES = {
    "ratio": "the largest ratio of the source files",
    "bytes": "the fewest bytes per exam",
    "seconds": "the fewest seconds per exam",
}
_SEEN_AS_NONE = 5e-5
_WHOLE = 10


@dataclass(frozen=True)
class EvidenceRow:
    """One margin at one tested point; ``chosen`` marks the certified point."""

    chain: str
    point: str
    test: MarginTest
    chosen: bool


@dataclass(frozen=True)
class ChainTestRow:
    """Where one sequence of tests stopped and why, and what it never reached."""

    chain: str
    alpha: float
    n_passed: int
    last_passed: str
    stopped_at: str
    why: str
    untested: tuple[str, ...]
    searched: bool = False


def sentences(decision: Decision, table: DataFrame | None = None) -> list[str]:
    """Say what was decided: the verdict first, then on what it stands.

    Parameters
    ----------
    decision : Decision
        What was decided.
    table : polars.DataFrame, optional
        The results that were decided on; with them the sentence on harmed answers is added.

    Returns
    -------
    list of str
        The first is the verdict in one line.
    """
    found = decision.certified
    said = _nothing(decision) if found is None else [_headline(found), *_proof(decision, found, table)]
    return [*said, _when(decision), *decision.notes]


def evidence_rows(decision: Decision) -> list[EvidenceRow]:
    """Return one row per tested point and margin, in the order of the tests."""
    best = decision.certified.point if decision.certified else ""
    return [
        EvidenceRow(chain.name, point.point, test, point.point == best)
        for chain in decision.chain_tests
        for point in chain.tested
        for test in point.tests
    ]


def chain_test_rows(decision: Decision) -> list[ChainTestRow]:
    """Return one row per sequence of tests."""
    rows = []
    for chain in decision.chain_tests:
        passed, failed = chain.passed, chain.failed
        last = passed[-1].point if passed else ""
        at = failed.point if failed else ""
        row = ChainTestRow(
            chain.name, chain.alpha, len(passed), last, at, _why(chain), chain.untested, chain.searched
        )
        rows.append(row)
    return rows


def rule_rows(decision: Decision) -> list[tuple[str, str]]:
    """Return the rule as names and values, its digest last."""
    rule = decision.rule
    rows = [
        ("Margins, all of which must hold", ", ".join(map(str, rule.margins))),
        ("Alpha", f"{rule.alpha:g}, one-sided"),
        ("Order of tests", ", ".join(rule.order) if rule.order else _sharing(decision)),
        ("Chosen on, proven on", f"{rule.select}, {rule.confirm}" if rule.select else "one set for both"),
        ("Chosen by", _OBJECTIVES[rule.objective] + (f" on {rule.link}" if rule.link else "")),
        ("Fixed before the run", "yes" if decision.preregistered else "no"),
        ("Digest of the rule", rule.digest()),
    ]
    if decision.candidates:
        rows.insert(4, ("Candidates", ", ".join(decision.candidates)))
    return rows


def neighbours(decision: Decision, chains: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the certified point and the points beside it in its chain; without one, where tests stopped."""
    if decision.certified is None:
        return [chain.failed.point for chain in decision.chain_tests if chain.failed]
    own = decision.certified.point
    points = next((list(names) for names in chains.values() if own in names), [own])
    at = points.index(own)
    return [own, *points[max(0, at - 1) : at], *points[at + 1 : at + 2]]


def harmed(table: DataFrame, decision: Decision, point: str) -> tuple[int, int]:
    """Count answers that were right at pristine, and those of them that are wrong at a point.

    On the model and the split that the decision stands on, and on the cases classified at both points.
    """
    import polars as pl

    own = table.filter(pl.col("status") == OK)
    if "model" in own.columns and decision.model:
        own = own.filter(pl.col("model").cast(pl.String) == decision.model)
    if decision.rule.confirm:
        own = own.filter(pl.col("case_split") == decision.rule.confirm)
    right = pl.col("predicted").cast(pl.String) == pl.col("case_label").cast(pl.String)
    before = own.filter((pl.col("point") == PRISTINE) & right).select("case_id")
    after = own.filter(pl.col("point") == point).join(before, on="case_id")
    return after.height, after.filter(~right).height


def _headline(found: PointTest) -> str:
    ratio = found.ratio_file
    smaller = "" if math.isnan(ratio) else f" Files become {times(ratio)} times smaller."
    return f"Certified: {point_words(found.point)} ({found.point}).{smaller}"


def _proof(decision: Decision, found: PointTest, table: DataFrame | None) -> list[str]:
    kept = "; ".join(_kept(test) for test in found.tests)
    said = [f"On {_who(decision)}, each compared with its pristine self: {kept}."]
    if table is not None:
        said += _harm(*harmed(table, decision, found.point))
    fixed = "" if decision.preregistered else " and the margins had been fixed before"
    said.append(
        f"Of 100 studies like this one at most {100 * decision.rule.alpha:g} would certify a point that "
        "truly loses more than a margin, if the patients are a random sample of those that it is for"
        f"{fixed}."
    )
    return said


def _kept(test: MarginTest) -> str:
    margin, loss = test.margin, test.test.loss
    limit, upper = shown_amount(margin.limit, margin), shown_amount(test.test.upper, margin)
    seen = shown_amount(abs(loss), margin)
    if margin.is_rate:
        return f"{metric_words(margin)} are fewer than the {limit} allowed ({seen} seen, upper limit {upper})"
    verb = "rises" if margin.kind.lower_is_better else "falls"
    word = (
        "no loss" if abs(loss) < _SEEN_AS_NONE else f"a gain of {seen}" if loss < 0 else f"a loss of {seen}"
    )
    name = metric_words(margin)
    return f"{name} {verb} by less than the {limit} allowed ({word} seen, upper limit {upper})"


def _harm(n_right: int, n_wrong: int) -> list[str]:
    if not n_right:
        return []
    if not n_wrong:
        return [f"None of {counted(n_right, 'right answer')} turns wrong."]
    share = 100 * n_wrong / n_right
    per = f"{share:.0f}" if share >= _WHOLE else f"{share:.1f}"
    verb = "turns" if n_wrong == 1 else "turn"
    return [f"Of {counted(n_right, 'right answer')} {n_wrong:,} {verb} wrong, about {per} in 100."]


def _nothing(decision: Decision) -> list[str]:
    said = [f"Nothing is certified: on {_who(decision)}, no point was shown to hold every margin."]
    return [*said, *(_needed(size, _unit(decision)) for size in decision.required_sample_sizes)]


def _needed(size: RequiredSampleSize, unit: str) -> str:
    name, limit = metric_words(size.margin), shown_amount(size.margin.limit, size.margin)
    what = f"For a margin of {limit} on {name}"
    if size.reason:
        return f"{what}, no test could be made at {size.point}: {size.reason}."
    parts = []
    if size.least > size.n:
        parts.append(f"at least {counted(size.least, unit)} would be needed even if no answer changed")
    if size.at_weakest > size.n:
        parts.append(
            f"about {counted(size.at_weakest, unit)} if further ones answer as those did at {size.point}"
        )
    elif size.at_weakest < 0:
        parts.append(f"at {size.point} the loss seen is the margin or more, so that no number would do")
    elif size.at_weakest:
        parts.append(f"at {size.point} this number is enough, so that another margin stood in the way")
    return f"{what}, {'; '.join(parts) or 'no number can be given'} (here: {counted(size.n, unit)})."


def _when(decision: Decision) -> str:
    if decision.preregistered:
        return "Margins, order and alpha stood in the study file before the run."
    return (
        "The margins were set after the run, by someone who could have seen the results: confirm this on "
        "other cases before relying on it."
    )


def _who(decision: Decision) -> str:
    n_cases = decision.certified.n if decision.certified else decision.n_cases
    cases = counted(n_cases, "case")
    return f"{cases} of {counted(decision.n_patients, 'patient')}" if decision.clustered else cases


def _unit(decision: Decision) -> str:
    return "patient" if decision.clustered else "case"


def _sharing(decision: Decision) -> str:
    chain_tests = decision.chain_tests
    if any(chain.searched for chain in chain_tests):
        return f"{len(chain_tests)}, raced, each at alpha {chain_tests[0].alpha:.4g}"
    if len(chain_tests) < 2:  # noqa: PLR2004 -- several
        return "one, at the full alpha"
    return f"{len(chain_tests)}, one per chain, each at alpha {chain_tests[0].alpha:.4g}"


def _why(chain: ChainTest) -> str:
    failed = chain.failed
    if failed is None:
        return "came to its end" if chain.tested else "had no point to test"
    broken = [test for test in failed.tests if not test.passed]
    return "; ".join(_broken(test) for test in broken)


def _broken(test: MarginTest) -> str:
    margin, name = test.margin, metric_words(test.margin)
    if math.isnan(test.test.p):
        return f"{name}: {test.test.reason}"
    upper, limit = (shown_amount(v, margin, unit=False) for v in (test.test.upper, margin.limit))
    return f"{name}: {shown_amount(test.test.loss, margin)} seen, upper limit {upper}, margin {limit}"
