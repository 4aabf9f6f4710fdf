"""Stopping for futility: only what can no longer pass is stopped, and the reason says what was seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from bitdose.decision.dirichlet import DirichletWeights
from bitdose.decision.margin_tests import check_margin
from bitdose.results.predictions import make_cohort
from bitdose.rule.margins import Margin
from bitdose.search.futility import futility_reason, interim_counts

MakeRows = Callable[..., pl.DataFrame]

N = 400
TRUTH = ["sick", "well"] * (N // 2)
OTHER = {"sick": "well", "well": "sick"}
POINT = "jpeg:q10"
ALPHA = 0.05


def verdict(
    make_rows: MakeRows, metric: str, wrong: list[int], seen: int, patients: list[str] | None = None
) -> str:
    """Judge a point that has seen the first so many cases, of which some lost their right answer."""
    coded = [OTHER[t] if n in wrong else t for n, t in enumerate(TRUTH)]
    table = make_rows({"pristine": TRUTH, POINT: coded}, TRUTH, patients=patients)
    rows = table.filter(pl.col("point") == POINT).sort("case_id").head(seen)
    cohort = make_cohort(pl.concat([table.filter(pl.col("point") == "pristine"), rows]))
    draws = DirichletWeights.of(len(cohort.patients), alpha=ALPHA, rng=np.random.default_rng(0))
    return futility_reason(Margin.parse(metric), cohort, interim_counts(rows, cohort), draws, alpha=ALPHA)


@pytest.mark.parametrize(
    "metric",
    [
        "accuracy=0.05", "sensitivity[sick]=0.05", "specificity[sick]=0.05", "harmful_flips=0.05",
        "flips=0.05", "macro_f1=0.05", "f1[sick]=0.05", "precision[well]=0.05", "sensitivity=0.05",
    ],
)  # fmt: skip
def test_what_loses_a_third_is_stopped_and_what_loses_nothing_is_not(
    make_rows: MakeRows, metric: str
) -> None:
    """After 48 of 400 cases, for every metric of answers."""
    found = verdict(make_rows, metric, list(range(0, N, 3)), 48)
    assert found.startswith("stopped for futility after 48 of 400 cases, ")
    assert "lost" in found
    assert verdict(make_rows, metric, [], 48) == ""


@pytest.mark.parametrize("metric", ["auroc[sick]=0.05", "brier=0.05", "ece=0.05"])
def test_metrics_of_probabilities_see_all_cases(make_rows: MakeRows, metric: str) -> None:
    """No answer that could be filled in stands for a probability."""
    assert verdict(make_rows, metric, list(range(N)), 48) == ""


def test_a_loss_that_may_be_luck_is_not_stopped(make_rows: MakeRows) -> None:
    """Two lost of twelve would be hopeless if it went on so; it need not."""
    assert verdict(make_rows, "accuracy=0.05", [0, 1], 12) == ""


def test_patients_with_several_cases_are_judged_too(make_rows: MakeRows) -> None:
    """The same verdicts on clustered cases."""
    patients = [f"p{n // 4}" for n in range(N)]
    assert verdict(make_rows, "accuracy=0.05", list(range(0, N, 3)), 96, patients)
    assert verdict(make_rows, "accuracy=0.05", [], 96, patients) == ""


def test_with_everything_seen_it_agrees_with_the_test_itself(make_rows: MakeRows) -> None:
    """Nothing is left to fill in: what is stopped has failed, and what has not may pass."""
    for lost in range(0, 30, 3):
        coded = [OTHER[t] if n < lost else t for n, t in enumerate(TRUTH)]
        cohort = make_cohort(make_rows({"pristine": TRUTH, POINT: coded}, TRUTH))
        draws = DirichletWeights.of(N, alpha=ALPHA, rng=np.random.default_rng(0))
        test = check_margin(
            Margin.parse("accuracy=0.05"), cohort, cohort.points[POINT].predictions, draws, alpha=ALPHA
        )
        assert bool(verdict(make_rows, "accuracy=0.05", list(range(lost)), N)) is not test.passed


@pytest.mark.long
def test_it_is_wrong_about_once_in_a_thousand_looks(make_rows: MakeRows) -> None:
    """Of a hundred points that would pass on all cases, at most one is stopped at 24, 48 or 96."""
    rng = np.random.default_rng(1)
    wrongly = 0
    for _ in range(100):
        lost = rng.choice(N, 9, replace=False).tolist()  # 9 of 400 still pass at a margin of 0.05
        wrongly += any(verdict(make_rows, "accuracy=0.05", lost, seen) for seen in (24, 48, 96))
    assert wrongly <= 1
