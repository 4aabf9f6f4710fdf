"""The race: it finds the full walk's answer, asks for no more than it needs, and keeps its level."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest

from bitdose.decision.base import Decision
from bitdose.decision.decide import decide
from bitdose.errors import UsageError
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule
from bitdose.search.candidates import CandidateState, standing_of
from bitdose.search.racing import INDIVIDUAL_SHARE, Racing, Request

MakeRows = Callable[..., pl.DataFrame]

N = 600
TRUTH = ["sick", "well"] * (N // 2)
QUALITIES = [95, 90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 1]
GRID = {f"jpeg{tail}": [f"jpeg:q{q}{tail}" for q in QUALITIES] for tail in ("", "@256")}
LOST = {"": [0, 0, 0, 0, 0, 1, 2, 4, 60, 90, 120, 200], "@256": [0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 90, 200]}
OTHER = {"sick": "well", "well": "sick"}


def whole_table(
    make_rows: MakeRows, splits: list[str] | None = None, lost: dict[str, list[int]] | None = None
) -> pl.DataFrame:
    """Make the full grid's table: losses that grow along both chains, spread over the cases."""
    answers = {"pristine": TRUTH}
    for tail, counts in (lost or LOST).items():
        for q, count in zip(QUALITIES, counts, strict=True):
            wrong = {round(k * N / count) for k in range(count)} if count else set()
            answers[f"jpeg:q{q}{tail}"] = [OTHER[t] if n in wrong else t for n, t in enumerate(TRUTH)]
    sizes = {f"jpeg:q{q}{tail}": (1000 if tail else 3000) // (k + 1)
             for tail in LOST for k, q in enumerate(QUALITIES)}  # fmt: skip
    return make_rows(answers, TRUTH, splits=splits, coded_bytes=sizes)


def run(table: pl.DataFrame, rule: Rule) -> tuple[Decision, pl.DataFrame, list[Request]]:
    """Answer every request from the full table, as rounds of measuring would."""
    by_split = table.group_by("case_split").agg(pl.col("case_id").n_unique())
    sizes = dict(by_split.iter_rows())
    race, asked, have = Racing(rule, GRID, sizes), [], table.clear()
    found: Decision | Request = race.start
    while isinstance(found, Request):
        asked.append(found)
        for point, upto in found.points:
            rows = table.filter(pl.col("point") == point, pl.col("case_split") == found.split)
            have = pl.concat([have, rows.sort(pl.col("case_id").hash(seed=1)).head(upto)])
        assert len(asked) < 200
        have = have.unique(["case_id", "point"], maintain_order=True)
        found = race.step(have)
    return found, have, asked


def test_it_finds_what_the_full_walk_finds(make_rows: MakeRows) -> None:
    """On a clear boundary: the same point, with less than a third of the case-points."""
    table, rule = whole_table(make_rows), Rule(read_margins(["accuracy=0.03"]))
    found, have, _ = run(table, rule)
    assert found.certified.point == decide(table, rule).certified.point == "jpeg:q10@256"
    assert len(have) < len(table) / 3
    assert all(walk.searched for walk in found.chain_tests)
    for walk in found.chain_tests:
        told = [test.point for test in walk.tested] + list(walk.untested)
        assert sorted(told) == sorted(GRID[walk.name])


def test_a_strong_point_is_stopped_after_few_cases(make_rows: MakeRows) -> None:
    """What loses a third of all answers never sees more than a few dozen cases, and says why."""
    found, have, _ = run(whole_table(make_rows), Rule(read_margins(["accuracy=0.03"])))
    walk = next(walk for walk in found.chain_tests if walk.name == "jpeg@256")
    out = {test.point: test for test in walk.tested if not test.passed}
    strong = out["jpeg:q5@256"]
    assert strong.n == len(have.filter(pl.col("point") == "jpeg:q5@256")) <= 96
    assert "stopped for futility after" in strong.tests[0].test.reason
    assert walk.failed.point == "jpeg:q5@256"


def test_a_chain_that_cannot_win_costs_next_to_nothing(make_rows: MakeRows) -> None:
    """A chain whose harshest point is larger than the champion is never measured on more than first looks."""
    table = whole_table(make_rows).with_columns(
        pl.when(pl.col("codec_chain") == "jpeg").then(5000).otherwise("bytes_coded").alias("bytes_coded")
    )
    _, have, _ = run(table, Rule(read_margins(["accuracy=0.03"])))
    counts = dict(have.filter(pl.col("codec_chain") == "jpeg").group_by("point").len().iter_rows())
    assert max(counts.values()) <= 24


def test_it_asks_for_the_same_whatever_was_judged_before(make_rows: MakeRows) -> None:
    """A race begun anew on what is measured, as after a kill, says what the one that went on said."""
    table, rule = whole_table(make_rows), Rule(read_margins(["accuracy=0.03"]))
    found, have, _ = run(table, rule)
    assert Racing(rule, GRID, {"": N}).step(have) == found


def test_the_order_of_the_losses_decides_not_their_luck(make_rows: MakeRows) -> None:
    """A point that passes in turn does not count beyond one that is out, as the full walk would have it."""
    lost = {tail: [0, 0, 0, 12, 12, 90, 12, 12, 200, 200, 200, 200] for tail in LOST}
    table, rule = whole_table(make_rows, lost=lost), Rule(read_margins(["accuracy=0.04"]))
    found, _, _ = run(table, rule)
    whole = decide(table, rule)
    assert found.certified.point == whole.certified.point
    passed = {test.point for walk in found.chain_tests for test in walk.passed}
    assert "jpeg:q30@256" not in passed
    assert whole.certified.point in passed


def test_the_levels_add_up_to_the_chains(make_rows: MakeRows) -> None:
    """Alone: a small share of the chain's level over its points. In turn: the rest."""
    found, _, _ = run(whole_table(make_rows), Rule(read_margins(["accuracy=0.03"]), alpha=0.04))
    levels = {round(test.alpha, 12) for walk in found.chain_tests for test in walk.tested}
    assert levels <= {round(0.02 * INDIVIDUAL_SHARE / 12, 12), round(0.02 * (1 - INDIVIDUAL_SHARE), 12)}
    assert found.chain_tests[0].alpha == pytest.approx(0.02)


@pytest.mark.parametrize("first_bad", [0, 2, 5])
def test_a_bad_point_passes_only_individually_or_as_the_first_bad_in_sequence(first_bad: int) -> None:
    """The ground of the guarantee: over all verdicts of six points, no other way certifies a bad one."""
    for verdicts in itertools.product(
        (CandidateState.OUT, CandidateState.SEQUENTIAL, CandidateState.INDIVIDUAL, CandidateState.UNSEEN),
        repeat=6,
    ):
        certified = standing_of(verdicts).certified
        if certified >= first_bad:
            individual = CandidateState.INDIVIDUAL in verdicts[first_bad:]
            assert individual or verdicts[first_bad] is CandidateState.SEQUENTIAL


def test_two_splits_race_on_the_first_and_prove_on_the_second(make_rows: MakeRows) -> None:
    """Few points are measured on the second split, and the proof is at the whole level."""
    table = whole_table(make_rows, splits=["a"] * (N // 2) + ["b"] * (N // 2))
    rule = Rule(read_margins(["accuracy=0.04"]), select="a", confirm="b")
    found, have, _ = run(table, rule)
    assert found.certified is not None
    assert [walk.name for walk in found.chain_tests] == ["confirm"]
    assert found.chain_tests[0].alpha == 0.05
    assert have.filter(pl.col("case_split") == "b")["point"].n_unique() <= 1 + len(found.candidates)
    assert found.certified.point in found.candidates
    whole = decide(table, rule)
    assert (found.candidates, found.certified.point) == (whole.candidates, whole.certified.point)
    first = have.filter(pl.col("case_split") == "a")
    assert len(first) < 0.9 * len(table) / 2  # strong points are stopped


def test_a_hopeless_first_split_ends_without_a_proof(make_rows: MakeRows) -> None:
    """Where no point seems to hold, the second split is never asked for."""
    table = whole_table(make_rows, splits=["a"] * (N // 2) + ["b"] * (N // 2))
    wrong = (
        pl.when(pl.col("point") != "pristine").then(pl.lit("sick")).otherwise("predicted").alias("predicted")
    )
    rule = Rule(read_margins(["accuracy=0.04"]), select="a", confirm="b")
    found, have, _ = run(table.with_columns(wrong), rule)
    assert found.certified is None
    assert have["case_split"].unique().to_list() == ["a"]
    assert "no point seems to hold" in found.notes[-1]


def test_too_few_cases_cost_one_point_and_tell_how_many_it_takes(make_rows: MakeRows) -> None:
    """With 20 cases nothing can pass: the mildest point alone is measured on all, for the shortfall."""
    table = whole_table(make_rows).filter(pl.col("case_id") < "case-0020")
    found, have, asked = run(table, Rule(read_margins(["accuracy=0.05"])))
    assert found.certified is None
    assert found.required_sample_sizes[0].point == "jpeg:q95"
    assert found.required_sample_sizes[0].least > 59
    assert len(asked) == 2
    assert have.filter(pl.col("point") == "jpeg:q95").height == 20


def test_a_point_with_a_failed_case_is_out_at_once(make_rows: MakeRows) -> None:
    """As on the full grid: a point is comparable only if it answers every case."""
    table = whole_table(make_rows).with_columns(
        pl.when(pl.col("point") == "jpeg:q10@256")
        .then(pl.lit("codec-limit"))
        .otherwise("status")
        .alias("status")
    )
    rule = Rule(read_margins(["accuracy=0.03"]))
    found, have, _ = run(table, rule)
    assert found.certified.point == decide(table, rule).certified.point == "jpeg:q20@256"
    assert have.filter(pl.col("point") == "jpeg:q10@256").height <= 24


def test_bad_classes_are_refused_before_more_is_measured(make_rows: MakeRows) -> None:
    """As decide does."""
    race = Racing(Rule(read_margins(["sensitivity[covid]=0.1"])), GRID, {"": N})
    with pytest.raises(UsageError, match="no such class"):
        race.step(whole_table(make_rows))


def drawn(make_rows: MakeRows, rng: np.random.Generator, losses: Sequence[float], n: int) -> pl.DataFrame:
    """Draw a study of one chain whose true losses are known."""
    truth, luck = ["sick"] * n, rng.random(n)
    answers = {"pristine": truth}
    for q, loss in zip(QUALITIES, losses, strict=True):
        answers[f"jpeg:q{q}"] = ["well" if u < loss else "sick" for u in luck]
    return make_rows(answers, truth)


@pytest.mark.long
def test_a_bad_point_is_certified_no_more_often_than_alpha(make_rows: MakeRows) -> None:
    """Sixty drawn studies, the seventh point at the margin: at alpha 0.2 at most 19 may certify it or worse.

    Nineteen or more have a chance of 2 % where the level is kept; ``benchmarks/search.py`` draws thousands.
    """
    losses = [0, 0, 0.01, 0.01, 0.02, 0.02, 0.1, 0.1, 0.1, 0.15, 0.2, 0.3]
    rule, grid, bad = Rule(read_margins(["accuracy=0.1"]), alpha=0.2), {"jpeg": GRID["jpeg"]}, 0
    for number in range(60):
        table = drawn(make_rows, np.random.default_rng(number), losses, 100)
        race = Racing(rule, grid, {"": 100})
        found: Decision | Request = race.step(table)
        assert isinstance(found, Decision)
        bad += found.certified is not None and QUALITIES.index(int(found.certified.point[6:])) >= 6
    assert bad < 19
