"""A run's results: its table and its manifest, and the decisions that follow from them.

This is the one way from a run to a decision, whether every point was measured or a search chose what to
measure. What a decision claims (the rule was registered, the run is complete) is derived from table and
manifest, never passed in. Decisions and summaries are made once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bitdose.decision.base import Decision
from bitdose.decision.decide import decide
from bitdose.decision.fixed_sequence import Seconds
from bitdose.decision.registration import is_registered, is_search, registered_rule, unfinished
from bitdose.errors import BitdoseError, UsageError, argument, command
from bitdose.links import Link, seconds
from bitdose.results.schema import PRISTINE
from bitdose.results.summarize import summarize
from bitdose.rule.rule import Rule
from bitdose.search.racing import Racing, Request

if TYPE_CHECKING:
    import polars as pl

    from bitdose.results.summary import PointSummary, Summary


@dataclass(frozen=True, eq=False)
class RunResults:
    """The results table of one run with its manifest.

    Parameters
    ----------
    table : polars.DataFrame
        One row per case and point, columns as in :mod:`bitdose.results.schema`.
    manifest : mapping
        As the study wrote it; empty for a table without its run.
    """

    table: pl.DataFrame
    manifest: Mapping[str, Any]
    _summaries: dict[float, Summary] = field(default_factory=dict, repr=False)
    _decisions: dict[str, Decision] = field(default_factory=dict, repr=False)

    @property
    def registered(self) -> Rule | None:
        """The rule that was fixed before the run; None where none was."""
        return registered_rule(self.manifest)

    @property
    def is_search(self) -> bool:
        """Whether a search chose what was measured."""
        return is_search(self.manifest)

    @property
    def unfinished(self) -> str:
        """How many of the planned cases have run, in words; empty where all have."""
        return unfinished(self.table, self.manifest)

    @property
    def shown(self) -> pl.DataFrame:
        """The rows that figures and tables are made of: of a search, those of points that saw all cases."""
        return seen_on_all_cases(self.table) if self.is_search else self.table

    def summary(self, *, level: float = 0.95) -> Summary:
        """Summarise every point that is shown, with confidence intervals of a level in (0, 1)."""
        if level not in self._summaries:
            self._summaries[level] = summarize(
                self.shown, level=level, seed=self._seed, n_planned=self._identity.get("cases", 0)
            )
        return self._summaries[level]

    def point_summary(self, point: str, *, split: str = "", level: float = 0.95) -> PointSummary:
        """Summarise one point, on one split where it is named; from the whole summary where that was made."""
        import polars as pl

        if not split and level in self._summaries:
            return next(found for found in self._summaries[level].points if found.point == point)
        own = pl.col("point").is_in([PRISTINE, point])
        if split:
            own &= pl.col("case_split") == split
        return summarize(self.table.filter(own), level=level, seed=self._seed).points[-1]

    def decide(self, rule: Rule | None = None) -> Decision:
        """Decide by a rule, or by the registered one.

        Parameters
        ----------
        rule : Rule, optional
            Margins, alpha, order, splits, objective; the one fixed before the run where none is given.

        Returns
        -------
        Decision
            ``preregistered`` where the rule is the one fixed before the run.

        Raises
        ------
        UsageError
            If there is no rule, the run is not complete, a search is asked about another rule than its own,
            or the table and the rule do not fit.
        """
        rule = rule or self.registered
        if rule is None:
            raise UsageError(
                f"{argument('margins')}: expected at least one, such as accuracy=0.02; none is registered"
            )
        if rule.digest() not in self._decisions:
            make = self._replayed if self.is_search else self._decided
            self._decisions[rule.digest()] = make(rule)
        return self._decisions[rule.digest()]

    @property
    def _identity(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.manifest.get("identity", {})
        return found

    @property
    def _seed(self) -> int:
        return int(str(self.manifest.get("seed", 0)))

    def _decided(self, rule: Rule) -> Decision:
        manifest = self.manifest or None
        return decide(self.table, rule, manifest=manifest, seconds=seconds_on(rule), seed=self._seed)

    def _replayed(self, rule: Rule) -> Decision:
        if not is_registered(self.manifest, rule):
            raise UsageError(
                "a search decides by its own rule only; leave margins, alpha and order out, or search again"
            )
        return replayed(self.table, self.manifest)


def replayed(table: pl.DataFrame, manifest: Mapping[str, Any]) -> Decision:
    """Reach a finished search's decision again from its rows; raises ``BitdoseError`` if it is unfinished."""
    held, rule = manifest.get("search"), registered_rule(manifest)
    if not isinstance(held, dict) or rule is None or "sizes" not in held:
        raise BitdoseError("manifest: the search it describes cannot be read; search again in a new folder")
    _check_sizes(table, held["sizes"])
    race = Racing(
        rule, held["grid"], held["sizes"], seconds=seconds_on(rule), seed=int(manifest.get("seed", 0))
    )
    found = race.step(table)
    if isinstance(found, Request):
        again = command("search", python="bitdose.search()")
        raise BitdoseError(f"the search is not finished; run {again} again to go on")
    return of_search(found, manifest)


def _check_sizes(table: pl.DataFrame, sizes: Mapping[str, int]) -> None:
    """Check that a search's rows are of as many cases as its manifest says, split by split."""
    for split, size in sizes.items():
        rows = table.filter(table["case_split"] == split) if split else table
        have = rows["case_id"].n_unique()
        if have > size:
            where = f" of the split {split!r}" if split else ""
            raise UsageError(f"results: expected the {size} cases{where} of the manifest, got {have}")


def of_search(found: Decision, manifest: Mapping[str, Any]) -> Decision:
    """Add to a race's decision what its manifest says of the rule, and what a search takes for granted."""
    found = replace(found, preregistered=is_registered(manifest, found.rule))
    if found.rule.select:
        return found
    note = (
        "Found by a search, which assumes that the true loss does not fall along a chain; points that were "
        "stopped for futility or passed by saw some of the cases only, and stand in no figure."
    )
    return replace(found, notes=(*found.notes, note))


def seen_on_all_cases(table: pl.DataFrame) -> pl.DataFrame:
    """Leave out points that a search measured on some cases only: they are no picture of the whole."""
    import polars as pl

    seen = table.group_by("case_split", "point").len()
    whole = seen.filter(pl.col("point") == PRISTINE).select("case_split", pl.col("len").alias("cases"))
    complete = seen.join(whole, on="case_split", nulls_equal=True).filter(pl.col("len") == pl.col("cases"))
    return table.join(
        complete.select("case_split", "point"), on=["case_split", "point"], how="semi", nulls_equal=True
    )


def seconds_on(rule: Rule) -> Seconds | None:
    """Return the function from bytes per exam to seconds per exam on the rule's link; None without a link."""
    return partial(seconds, Link.parse(rule.link)) if rule.link else None
