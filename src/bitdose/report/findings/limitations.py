"""What a study cannot show: the losses that its numbers cannot rule out, and what it never asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bitdose.decision.base import Decision, MarginTest
from bitdose.decision.decide import decide
from bitdose.errors import BitdoseError
from bitdose.links import Link
from bitdose.report.findings.counts import group_columns, value_text
from bitdose.report.findings.flips import of_model
from bitdose.report.findings.phrasing import metric_words, shown_amount
from bitdose.report.findings.sentences import counted
from bitdose.report.findings.subgroups import Subgroup
from bitdose.results.schema import OK, PRISTINE
from bitdose.results.summary import Summary
from bitdose.rule.margins import Margin
from bitdose.rule.rule import Rule

if TYPE_CHECKING:
    from polars import DataFrame

_UNCHANGED = "unchanged"
_ANY = 0.5


@dataclass(frozen=True)
class MinimumDetectableLoss:
    """The loss of one metric that cannot be ruled out even if no answer changes.

    ``limit`` is the margin that was set for it, NaN if none; ``loss`` is NaN with a ``reason``. The
    texts are the same two numbers with their unit.
    """

    metric: str
    n: int
    unit: str
    loss: float
    limit: float
    text: str
    limit_text: str = "–"
    reason: str = ""

    @property
    def out_of_reach(self) -> bool:
        """Whether the margin could not have been shown, whatever the study had found."""
        return not self.loss < self.limit and not math.isnan(self.limit)


@dataclass(frozen=True)
class SmallGroup:
    """The smallest subgroup of one column, and the loss of accuracy that it alone cannot rule out."""

    column: str
    value: str
    n_cases: int
    least: MinimumDetectableLoss


def minimum_detectable_losses(table: DataFrame, decision: Decision) -> list[MinimumDetectableLoss]:
    """Find the smallest loss that these cases can rule out, for accuracy, each class and each margin.

    The tests of the decision are made on answers that are all as at pristine, at the level at which
    the points were tested: what their limits then are, no point can be shown to be below.

    Parameters
    ----------
    table : polars.DataFrame
        The results that were decided on.
    decision : Decision
        What was decided.
    """
    margins = {margin.name: margin for margin in decision.rule.margins}
    wanted = [Margin("accuracy", "", _ANY), *(Margin("sensitivity", c, _ANY) for c in decision.labels)]
    own = _own(table, decision)
    return _least(own, {m.name: m for m in wanted} | margins, margins, decision)


def small_groups(table: DataFrame, decision: Decision, groups: Sequence[Subgroup]) -> list[SmallGroup]:
    """Return the smallest group of each column that splits the cases into a few, smallest first.

    Only of columns that make ``groups``: those that name a person are not among them.
    """
    own = _own(table, decision)
    allowed = {group.column for group in groups if group.point}
    columns = [name for name in group_columns(own) if name.removeprefix("case_") in allowed]
    found = [_smallest(own, column, decision) for column in columns]
    return sorted((one for one in found if one), key=lambda one: (one.least.n, one.column))


@dataclass(frozen=True)
class NotShown:
    """The losses that stay open, the smallest groups, and what was never asked, as sentences."""

    least: tuple[MinimumDetectableLoss, ...]
    groups: tuple[SmallGroup, ...]
    sentences: tuple[str, ...]


def not_shown(
    decision: Decision,
    table: DataFrame,
    summary: Summary,
    *,
    groups: Sequence[Subgroup] = (),
    links: Sequence[Link] = (),
) -> NotShown:
    """Say what this study cannot show.

    Parameters
    ----------
    decision : Decision
        What was decided.
    table : polars.DataFrame
        The results that were decided on.
    summary : Summary
        Of the same table.
    groups : sequence of Subgroup
        From :func:`bitdose.report.findings.subgroups.subgroups`: columns that make groups.
    links : sequence of Link
        Those whose seconds are reported.
    """
    said = _design_words(decision, summary)
    said += _source_words(of_model(table, summary), summary)
    said += _scope_words(table)
    if links:
        said.append(
            "Real lines: the seconds are computed from each link's rate and round trip, for one sender on a "
            "steady line; rates marked as assumed were measured by nobody."
        )
    least, small = minimum_detectable_losses(table, decision), small_groups(table, decision, groups)
    return NotShown(tuple(least), tuple(small), tuple(said))


def _own(table: DataFrame, decision: Decision) -> DataFrame:
    """Keep the pristine rows of the model and split that the decision stands on."""
    import polars as pl

    own = table.filter((pl.col("point") == PRISTINE) & (pl.col("status") == OK))
    if "model" in own.columns and own["model"].n_unique() > 1:
        own = own.filter(pl.col("model").cast(pl.String) == decision.model)
    return own.filter(pl.col("case_split") == decision.rule.confirm) if decision.rule.confirm else own


def _least(
    own: DataFrame, wanted: dict[str, Margin], asked: dict[str, Margin], decision: Decision
) -> list[MinimumDetectableLoss]:
    import polars as pl

    same = own.with_columns(point=pl.lit(_UNCHANGED), codec_chain=pl.lit(_UNCHANGED))
    alpha = min((chain.alpha for chain in decision.chain_tests), default=decision.rule.alpha)
    found = decide(pl.concat([own, same]), Rule(tuple(wanted.values()), alpha=alpha))
    return [
        _detectable_loss(each, asked.get(each.margin.name)) for each in found.chain_tests[0].tested[0].tests
    ]


def _detectable_loss(each: MarginTest, asked: Margin | None) -> MinimumDetectableLoss:
    test = each.test
    return MinimumDetectableLoss(
        metric=metric_words(each.margin),
        n=test.n,
        unit=test.unit,
        loss=test.upper,
        limit=asked.limit if asked else math.nan,
        text=shown_amount(test.upper, each.margin),
        limit_text=shown_amount(asked.limit, asked) if asked else "–",
        reason=test.reason,
    )


def _smallest(own: DataFrame, column: str, decision: Decision) -> SmallGroup | None:
    import polars as pl

    unit = pl.col("case_patient").fill_null(pl.col("case_id")) if decision.clustered else pl.col("case_id")
    groups = own.drop_nulls(column).group_by(column).agg(unit.n_unique().alias("n"), pl.len().alias("cases"))
    value, _, n_cases = groups.sort("n", column).row(0)
    wanted = {"accuracy": Margin("accuracy", "", _ANY)}
    try:
        least = _least(own.filter(pl.col(column) == value), wanted, {}, decision)[0]
    except BitdoseError:
        return None  # no case of it was classified at pristine
    return SmallGroup(column.removeprefix("case_"), value_text(value), n_cases, least)


def _design_words(decision: Decision, summary: Summary) -> list[str]:
    said = []
    if decision.clustered:
        said.append(
            f"More than its patients can: the {counted(decision.n_cases, 'case')} come from "
            f"{counted(decision.n_patients, 'patient')}, and cases of one patient are not independent."
        )
    if not decision.preregistered:
        said.append("A result free of choice: the margins were not fixed before the run.")
    if summary.n_failed_cases:
        failed = counted(summary.n_failed_cases, "case")
        said.append(f"Anything about {failed} that failed at some point and could not be compared there.")
    if summary.unfinished:
        said.append(f"The whole set: {summary.n_cases:,} of {summary.n_planned:,} cases were run.")
    said.append(
        f"Certainty: alpha {decision.rule.alpha:g} means that of 100 such studies at points that lose too "
        f"much, up to {100 * decision.rule.alpha:g} would certify one."
    )
    return said


def _source_words(own: DataFrame, summary: Summary) -> list[str]:
    said = []
    if summary.n_lossy_sources:
        n, all_cases = summary.n_lossy_sources, counted(summary.n_cases, "source file")
        said.append(
            f"What compression does to untouched images: {n:,} of {all_cases} had been lossily coded before, "
            "so pristine is not free of it."
        )
    elif own["case_lossy"].null_count() == own.height:
        said.append(
            "What the sources went through before: it is not recorded whether they were lossily coded."
        )
    places = own["case_source"].drop_nulls().n_unique() if "case_source" in own.columns else 0
    if places == 1:
        said.append("Other hospitals and machines: all cases come from one source.")
    elif not places:
        said.append("Other hospitals and machines: where the cases come from is not recorded.")
    else:
        said.append(f"Hospitals and machines beyond the {places} sources of these cases.")
    return said


def _scope_words(table: DataFrame) -> list[str]:
    builds = _distinct(table, "codec_library")
    which = f" ({'; '.join(builds)})" if builds else ""
    return [
        (
            f"Other encoders and kernels: the result holds for the codec builds used here{which} and their "
            "resampling. Another client's encoder gives other pixels at the same setting."
        ),
        "What a physician sees: no reader study was made. The result is about this classifier alone.",
        ("Other classifiers, or this one trained again: each needs its own study."),
        "The future: cases, machines and disease change. The loss has to be watched in use.",
    ]


def _distinct(table: DataFrame, column: str) -> Sequence[str]:
    if column not in table.columns:
        return ()
    return sorted({str(value) for value in table[column].drop_nulls().unique() if str(value)})
