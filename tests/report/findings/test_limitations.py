"""What a study cannot show: checked against the tests themselves."""

from __future__ import annotations

import math
from dataclasses import replace

import polars as pl
import pytest

from bitdose.decision.decide import decide
from bitdose.links import LINKS
from bitdose.report.findings.limitations import minimum_detectable_losses, not_shown, small_groups
from bitdose.report.findings.subgroups import subgroups
from bitdose.results.summarize import summarize
from bitdose.results.summary import Summary
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule
from bitdose.stats.noninferiority import paired_loss_test


@pytest.fixture(scope="module")
def single(table: pl.DataFrame) -> pl.DataFrame:
    """Make every case its own patient."""
    return table.with_columns(case_patient=pl.col("case_id"))


def test_the_least_loss_is_the_limit_of_no_change(single: pl.DataFrame) -> None:
    """With n independent cases and no changed answer, the loss that stays open is the test's own limit."""
    decision = decide(single, Rule(read_margins(["accuracy=0.05"])))
    rows = {one.metric: one for one in minimum_detectable_losses(single, decision)}
    ok = single.filter((pl.col("point") == "pristine") & (pl.col("status") == "ok"))
    assert set(rows) == {"accuracy", *(f"sensitivity for {label}" for label in decision.labels)}
    for label in decision.labels:
        n = ok.filter(pl.col("case_label") == label).height
        same = paired_loss_test(0, 0, n, margin=0.5, alpha=0.05 / 4)
        assert rows[f"sensitivity for {label}"].n == n
        assert rows[f"sensitivity for {label}"].loss == pytest.approx(same.upper)
    assert rows["accuracy"].loss == pytest.approx(paired_loss_test(0, 0, 118, margin=0.5, alpha=0.0125).upper)


@pytest.mark.parametrize(("margin", "out"), [(0.02, True), (0.2, False)])
def test_a_margin_out_of_reach_is_told(single: pl.DataFrame, margin: float, out: bool) -> None:
    """A margin below the least loss could not have been shown, whatever the study had found."""
    decision = decide(single, Rule(read_margins([f"accuracy={margin}"])))
    rows = minimum_detectable_losses(single, decision)
    assert [one.out_of_reach for one in rows if one.metric == "accuracy"] == [out]
    assert not any(one.out_of_reach for one in rows if math.isnan(one.limit))


def test_patients_with_several_cases_show_less(table: pl.DataFrame, single: pl.DataFrame) -> None:
    """The same cases rule out less where they come from half as many patients."""
    rule = Rule(read_margins(["accuracy=0.05"]))
    clustered, apart = (minimum_detectable_losses(rows, decide(rows, rule))[0] for rows in (table, single))
    assert clustered.unit == "patient"
    assert clustered.loss > apart.loss


def test_small_groups_are_the_smallest_of_each_column(single: pl.DataFrame, summary: Summary) -> None:
    """Per column that makes groups, the group with the fewest cases and its own least loss."""
    sexed = single.with_columns(
        case_sex=pl.when(pl.col("case_id") < "case-0020").then(pl.lit("f")).otherwise(pl.lit("m"))
    )
    decision = decide(sexed, Rule(read_margins(["accuracy=0.1"])))
    found = {one.column: one for one in small_groups(sexed, decision, subgroups(sexed, summary))}
    assert (found["sex"].value, found["sex"].n_cases) == ("f", 19)  # of 20 one failed
    same = paired_loss_test(0, 0, 19, margin=0.5, alpha=0.1 / 8)
    assert found["sex"].least.n == 19
    assert found["sex"].least.loss > paired_loss_test(0, 0, 118, margin=0.5, alpha=same.alpha).upper
    assert found["lossy"].value == "yes"


def test_columns_that_name_persons_are_left_out(single: pl.DataFrame, summary: Summary) -> None:
    """Only columns that make subgroups are looked at; one that names a person makes none."""
    named = single.with_columns(
        case_name=pl.when(pl.col("case_id") < "case-0020").then(pl.lit("Ann")).otherwise(pl.lit("Bob"))
    )
    decision = decide(named, Rule(read_margins(["accuracy=0.1"])))
    found = small_groups(named, decision, subgroups(named, summary))
    assert {one.column for one in found} == {"format", "lossy"}
    assert small_groups(named, decision, []) == []


def test_the_sentences_name_what_was_not_asked(table: pl.DataFrame, summary: Summary) -> None:
    """Clusters, failures, history, source, builds, readers, links and alpha each have their sentence."""
    decision = decide(table, Rule(read_margins(["accuracy=0.2"])))
    said = " ".join(not_shown(decision, table, summary, links=list(LINKS.values())).sentences)
    for words in (
        "118 cases come from 60 patients",
        "not fixed before the run",
        "2 cases that failed",
        "had been lossily coded before",
        "where the cases come from is not recorded",
        "codec builds",
        "no reader study",
        "steady line",
        "alpha 0.05",
    ):
        assert words in said
    fixed = not_shown(replace(decision, preregistered=True), table, summary).sentences
    assert not any("not fixed before the run" in one or "steady line" in one for one in fixed)


@pytest.mark.parametrize(
    ("source", "words"),
    [(["a"], "all cases come from one source"), (["a", "b"], "beyond the 2 sources")],
)
def test_sources_are_counted(table: pl.DataFrame, source: list[str], words: str) -> None:
    """One source is a limit of its own; several are counted."""
    n = len(source)
    sourced = table.with_columns(
        case_source=pl.col("case_id")
        .str.slice(-1)
        .cast(pl.Int64)
        .map_elements(lambda i: source[i % n], pl.String)
    )
    decision = decide(sourced, Rule(read_margins(["accuracy=0.2"])))
    assert words in " ".join(not_shown(decision, sourced, summarize(sourced, draws=50)).sentences)


def test_the_proving_split_counts(table: pl.DataFrame) -> None:
    """With two splits, what cannot be shown is that of the one that proved."""
    half = table.with_columns(
        case_split=pl.when(pl.col("case_patient") < "patient-0030").then(pl.lit("a")).otherwise(pl.lit("b"))
    )
    decision = decide(half, Rule(read_margins(["accuracy=0.4"]), select="a", confirm="b"))
    patients = half.filter((pl.col("case_split") == "b") & (pl.col("status") == "ok"))[
        "case_patient"
    ].n_unique()
    assert minimum_detectable_losses(half, decision)[0].n == patients


def test_an_absent_class_has_its_reason(table: pl.DataFrame) -> None:
    """A class without cases is undefined with the reason, not an error."""
    two = table.filter(pl.col("case_label") != "covid-19")
    decision = decide(two, Rule(read_margins(["accuracy=0.4"])))
    row = next(
        one for one in minimum_detectable_losses(two, decision) if one.metric == "sensitivity for covid-19"
    )
    assert math.isnan(row.loss)
    assert "covid-19" in row.reason
    assert not row.out_of_reach
