"""What a decision is: the tests made, chain by chain, the certified point, and what was not shown.

The contract:

- a decision is a pure function of a results table and a :class:`~bitdose.rule.rule.Rule`;
- ``certified`` is a point whose every margin was tested and passed, or None, and then
  ``required_sample_sizes`` says what stands in the way;
- the chance that a study certifies a point that truly loses more than one of its margins is at most
  ``rule.alpha``, if the patients are a random sample of those that the profile is for, and, where a
  search on one split chose the points, if the true loss does not fall along a chain;
- a test that could not be made has NaN and a reason, and counts as failed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from bitdose.html_card import html_card
from bitdose.rule.margins import Margin
from bitdose.rule.rule import Rule
from bitdose.stats.noninferiority import LossTest


@dataclass(frozen=True)
class MarginTest:
    """One margin at one point, with the metric's own values beside the loss.

    Parameters
    ----------
    margin : Margin
        What was asked.
    pristine, coded : float
        The metric on the same cases, pristine and coded; NaN where undefined, or a rate of flips
        (which has no pristine value).
    test : LossTest
        The loss with its upper limit and p-value.
    """

    margin: Margin
    pristine: float
    coded: float
    test: LossTest

    @property
    def passed(self) -> bool:
        """Whether the loss is shown to be below the margin."""
        return self.test.passed


@dataclass(frozen=True)
class PointTest:
    """All margins at one point, and what the point costs.

    Parameters
    ----------
    point, chain : str
        Text forms.
    tests : tuple of MarginTest
        One per margin, in the rule's order.
    alpha : float
        The level at which this point was tested.
    n : int
        Paired cases.
    ratio_file, ratio_pixels : float
        Total over total.
    mean_bytes : float
        Coded bytes per exam.
    seconds : float
        Mean seconds per exam on the rule's link; NaN without a link.
    """

    point: str
    chain: str
    tests: tuple[MarginTest, ...]
    alpha: float
    n: int
    ratio_file: float
    ratio_pixels: float
    mean_bytes: float
    seconds: float = math.nan

    @property
    def passed(self) -> bool:
        """Whether every margin is shown to hold."""
        return all(test.passed for test in self.tests)


@dataclass(frozen=True)
class ChainTest:
    """One sequence of points, tested in order until the first that fails.

    Parameters
    ----------
    name : str
        The chain, or ``order`` or ``confirm`` for the one sequence.
    alpha : float
        Level of every test in it.
    tested : tuple of PointTest
        In order; the last may have failed.
    untested : tuple of str
        Points that were not reached.
    searched : bool
        Whether racing chose what to test, in place of a sequence from weak to strong compression: points pass
        individually or in sequence, and may be stopped for futility before they have seen all cases.
    """

    name: str
    alpha: float
    tested: tuple[PointTest, ...]
    untested: tuple[str, ...] = ()
    searched: bool = False

    @property
    def passed(self) -> tuple[PointTest, ...]:
        """The points that hold every margin."""
        return tuple(test for test in self.tested if test.passed)

    @property
    def failed(self) -> PointTest | None:
        """The first point after the last that passed, if it failed; None where none did."""
        last = max((at for at, test in enumerate(self.tested) if test.passed), default=-1)
        return next((test for test in self.tested[last + 1 :]), None)


@dataclass(frozen=True)
class RequiredSampleSize:
    """What one margin would have needed.

    Parameters
    ----------
    margin : Margin
        The margin.
    n : int
        Units of resampling at hand.
    least : int
        Units that any study needs for this margin, with no prediction changed; -1 where not computed.
    at_weakest : int
        Units needed if further ones behave like those at the weakest compression tested; -1 where no
        number would do, since the loss seen there is the margin or more, or it is undefined.
    point : str
        That point.
    reason : str
        Why a test could not be made at all; empty where it was made.
    """

    margin: Margin
    n: int
    least: int
    at_weakest: int
    point: str
    reason: str = ""


@dataclass(frozen=True)
class Decision:
    """What was decided, and by what.

    Parameters
    ----------
    rule : Rule
        Margins, alpha, order, splits, objective.
    model : str
        The classifier, as in the results.
    labels : tuple of str
        Its classes.
    chain_tests : tuple of ChainTest
        One per chain, or one.
    certified : PointTest or None
        The best of all points that passed, by the objective.
    candidates : tuple of str
        With two splits: the points that the first one chose, in the order of their tests.
    pareto : tuple of str
        Passed points that no other passed point beats in both the objective's cost and the worst p-value.
    required_sample_sizes : tuple of RequiredSampleSize
        Where nothing passed: per margin, how many cases would be needed.
    n_cases, n_patients : int
        On which the proof stands.
    clustered : bool
        Whether patients have several cases.
    preregistered : bool
        Whether the rule stood in the study file before the run.
    notes : tuple of str
        What an assessor should know, each one sentence.
    """

    rule: Rule
    model: str
    labels: tuple[str, ...]
    chain_tests: tuple[ChainTest, ...]
    certified: PointTest | None
    candidates: tuple[str, ...]
    pareto: tuple[str, ...]
    required_sample_sizes: tuple[RequiredSampleSize, ...]
    n_cases: int
    n_patients: int
    clustered: bool
    preregistered: bool = False
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        best = self.certified
        tested = best.tests if best else ()
        rows = [
            ("certified", best.point if best else "nothing"),
            *((str(t.margin), f"loss {t.test.loss:.3g}, at most {t.test.upper:.3g}") for t in tested),
            ("cases, patients", f"{self.n_cases}, {self.n_patients}"),
            ("alpha", f"{self.rule.alpha:g}, one-sided"),
            ("margins fixed before the run", "yes" if self.preregistered else "no"),
            *(("note", note) for note in self.notes),
        ]
        return html_card("Decision", rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON values, NaN as None."""
        found = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return found | {"rule": self.rule.to_dict(), "rule_digest": self.rule.digest()}


def _plain(value: Any) -> Any:
    if isinstance(value, Margin):
        return str(value)
    if isinstance(value, PointTest | MarginTest | LossTest):
        own = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        return own | {"passed": value.passed}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
