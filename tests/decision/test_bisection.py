"""Bisection: it finds the boundary, asks for no more than it needs, and never spends more than its level."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import polars as pl
import pytest

from bitdose.decision.base import Decision
from bitdose.decision.bisection import Bisection, Pending, bisect
from bitdose.decision.decide import decide
from bitdose.decision.margins import read_margins
from bitdose.decision.rule import Rule
from bitdose.errors import UsageError

MakeRows = Callable[..., pl.DataFrame]


def chain(n: int) -> Bisection:
    """Open a chain of n points at level 0.05."""
    return Bisection(tuple(f"q{k}" for k in range(n)), 0.05)


def every_end(state: Bisection, spent: float = 0.0, tests: int = 0) -> Iterator[tuple[float, int, Bisection]]:
    """Walk every possible sequence of outcomes; give levels spent on failures and tests made."""
    if state.next < 0:
        yield spent, tests, state
        return
    yield from every_end(state.after(passed=True), spent, tests + 1)
    yield from every_end(state.after(passed=False), spent + state.level, tests + 1)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 12, 13, 50])
def test_no_sequence_of_outcomes_spends_more_than_the_level(n: int) -> None:
    """Over all of them: failures cost at most 0.05 together, and the last test may take all that is left."""
    ends = list(every_end(chain(n)))
    assert max(spent for spent, _, _ in ends) == pytest.approx(0.05)
    assert all(spent <= 0.05 + 1e-12 for spent, _, _ in ends)
    assert max(tests for _, tests, _ in ends) == math.ceil(math.log2(n + 1))
    assert {end.passed for _, _, end in ends} == set(range(-1, n))


@pytest.mark.parametrize("n", [1, 5, 12, 33])
def test_a_clean_boundary_is_found_wherever_it_is(n: int) -> None:
    """With all points up to the boundary passing and none after, the last passing one is found."""
    for boundary in range(-1, n):
        state = chain(n)
        while state.next >= 0:
            state = state.after(passed=state.next <= boundary)
        assert state.passed == boundary


@pytest.mark.parametrize("n", [3, 12, 20])
def test_bad_points_tested_before_one_passes_are_the_same_whatever_the_data(n: int) -> None:
    """The ground of the guarantee: per first bad point, one list of tests, whose levels stay in bounds."""

    def runs(
        state: Bisection, bad: int, seen: tuple[tuple[int, float], ...]
    ) -> Iterator[tuple[tuple[int, float], ...]]:
        at = state.next
        if at < 0:
            yield seen
        elif at >= bad:
            yield (*seen, (at, state.level))  # a false pass ends it
            yield from runs(state.after(passed=False), bad, (*seen, (at, state.level)))
        else:
            yield from runs(state.after(passed=True), bad, seen)
            yield from runs(state.after(passed=False), bad, seen)

    for bad in range(n):
        lists = set(runs(chain(n), bad, ()))
        longest = max(lists, key=len)
        assert all(found == longest[: len(found)] for found in lists)
        assert sum(level for _, level in longest) <= 0.05 + 1e-12


N = 600
TRUTH = ["sick", "well"] * (N // 2)
QUALITIES = [95, 90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 1]
GRID = {f"jpeg{tail}": [f"jpeg:q{q}{tail}" for q in QUALITIES] for tail in ("", "@256")}
LOST = {"": [0, 0, 0, 0, 0, 1, 2, 4, 60, 90, 120, 200], "@256": [0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 90, 200]}


def whole_table(make_rows: MakeRows, splits: list[str] | None = None) -> pl.DataFrame:
    """Make the full grid's table: losses that grow along both chains, the last points useless."""
    other = {"sick": "well", "well": "sick"}
    answers = {"pristine": TRUTH}
    for tail, lost in LOST.items():
        for q, count in zip(QUALITIES, lost, strict=True):
            wrong = {round(k * N / count) for k in range(count)} if count else set()
            answers[f"jpeg:q{q}{tail}"] = [other[t] if n in wrong else t for n, t in enumerate(TRUTH)]
    return make_rows(answers, TRUTH, splits=splits)


def searched(table: pl.DataFrame, rule: Rule) -> tuple[Decision, pl.DataFrame]:
    """Answer every pending request from the full table, as rounds of studies would."""
    have = table.clear()
    found: Decision | Pending = Pending(rule.select, tuple(p[5] for p in GRID.values()))
    while isinstance(found, Pending):
        asked = pl.col("point").is_in([*found.points, "pristine"])
        if found.split:
            asked &= pl.col("case_split") == found.split
        have = pl.concat([have, table.filter(asked)]).unique(["case_id", "point"], maintain_order=True)
        found = bisect(have, rule, GRID)
    return found, have


def test_a_search_finds_what_the_full_walk_finds(make_rows: MakeRows) -> None:
    """On a clear boundary: the same point, with a third of the case-points."""
    table = whole_table(make_rows)
    rule = Rule(read_margins(["accuracy=0.03"]))
    found, have = searched(table, rule)
    assert found.certified.point == decide(table, rule).certified.point == "jpeg:q10@256"
    assert len(have) <= len(table) * 9 / 25
    assert all(walk.bisected for walk in found.walks)
    by_chain = {walk.name: walk for walk in found.walks}
    assert by_chain["jpeg"].failed.point == "jpeg:q20"
    assert set(by_chain["jpeg"].untested) | {t.point for t in by_chain["jpeg"].tested} == set(GRID["jpeg"])


def test_two_splits_bisect_the_first_and_prove_on_the_second(make_rows: MakeRows) -> None:
    """Few points are measured on the second split, and the proof is at the whole level."""
    table = whole_table(make_rows, splits=["a"] * (N // 2) + ["b"] * (N // 2))
    rule = Rule(read_margins(["accuracy=0.04"]), select="a", confirm="b")
    found, have = searched(table, rule)
    assert found.certified is not None
    assert [walk.name for walk in found.walks] == ["confirm"]
    assert found.walks[0].alpha == 0.05
    assert have.filter(pl.col("case_split") == "b")["point"].n_unique() <= 1 + len(found.candidates)
    assert found.certified.point in found.candidates


def test_a_hopeless_first_split_ends_without_a_proof(make_rows: MakeRows) -> None:
    """Where no point seems to hold, the second split is never asked for."""
    table = whole_table(make_rows, splits=["a"] * (N // 2) + ["b"] * (N // 2))
    wrong = (
        pl.when(pl.col("point") != "pristine").then(pl.lit("sick")).otherwise("predicted").alias("predicted")
    )
    rule = Rule(read_margins(["accuracy=0.04"]), select="a", confirm="b")
    found, have = searched(table.with_columns(wrong), rule)
    assert found.certified is None
    assert have["case_split"].unique().to_list() == ["a"]
    assert "no point seems to hold" in found.notes[-1]


def test_a_search_without_a_certified_point_says_what_was_missing(make_rows: MakeRows) -> None:
    """With 20 cases nothing passes; the mildest failure tells how many are needed."""
    table = whole_table(make_rows).filter(pl.col("case_id") < "case-0020")
    found, _ = searched(table, Rule(read_margins(["accuracy=0.05"])))
    assert found.certified is None
    assert found.shortfall[0].point == "jpeg:q95"
    assert found.shortfall[0].least > 59


def test_bad_classes_are_refused_before_anything_is_measured(make_rows: MakeRows) -> None:
    """As decide does."""
    table = whole_table(make_rows)
    with pytest.raises(UsageError, match="no such class"):
        bisect(table, Rule(read_margins(["sensitivity[covid]=0.1"])), GRID)
