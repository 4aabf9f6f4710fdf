"""What DeLong's interval promises: the structural components, computed pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from MLstatkit import Delong_test
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from bitdose.stats.delong import delong, delong_difference


def direct(positive: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Area and variance from all m x n pairs, as in DeLong 1988, without ranks."""
    x, y = score[positive], score[~positive]
    wins = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    v10, v01 = wins.mean(axis=1), wins.mean(axis=0)
    area = wins.mean()
    s10 = ((v10 - area) ** 2).sum() / (x.size - 1)
    s01 = ((v01 - area) ** 2).sum() / (y.size - 1)
    return float(area), float(s10 / x.size + s01 / y.size)


def test_by_hand() -> None:
    """Positives 3, 1 and negatives 2, 0: V10 = 1, 1/2 and V01 = 1/2, 1; variance 1/8 / 2 twice."""
    found = delong([1, 1, 0, 0], [3, 1, 2, 0], level=0.5)
    assert found.value == 0.75
    half = 0.67449 * math.sqrt(1 / 8) / (0.75 * 0.25)
    assert math.log(found.low / (1 - found.low)) == pytest.approx(math.log(3) - half, abs=1e-4)
    assert math.log(found.high / (1 - found.high)) == pytest.approx(math.log(3) + half, abs=1e-4)


@pytest.mark.parametrize("decimals", [1, 6])
def test_agrees_with_the_direct_sum(decimals: int) -> None:
    """With and without ties, area and limits are those of the pairwise sum; the area is scikit-learn's."""
    rng = np.random.default_rng(decimals)
    for _ in range(20):
        positive = np.r_[True, True, False, False, rng.random(60) < 0.3]
        score = np.round(rng.random(64) + 0.4 * positive, decimals)
        area, variance = direct(positive, score)
        found = delong(positive, score)
        half = 1.959963985 * math.sqrt(variance) / (area * (1 - area))
        assert found.value == pytest.approx(area, abs=1e-12)
        assert found.value == pytest.approx(roc_auc_score(positive, score), abs=1e-12)
        expected = expit(logit(area) - half), expit(logit(area) + half)
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("positive", "score", "reason"),
    [
        ([0, 0], [0.1, 0.2], "no positive case"),
        ([1, 1], [0.1, 0.2], "no negative case"),
        ([1, 0, 0], [0.1, math.nan, 0.2], "a case has no score"),
    ],
)
def test_without_both_kinds_or_a_score_it_is_undefined(positive: list, score: list, reason: str) -> None:
    """No pair to rank, or a case without a score: value and limits are NaN, with the reason."""
    found = delong(positive, score)
    assert np.isnan([found.value, found.low, found.high]).all()
    assert found.reason == reason


@pytest.mark.parametrize(("positive", "score"), [([1, 1, 0, 0], [4, 3, 2, 1]), ([1, 0, 0], [2, 3, 1])])
def test_no_spread_gives_no_limits(positive: list, score: list) -> None:
    """Full separation, or a single positive: a value with NaN limits and a reason, never zero width."""
    found = delong(positive, score)
    assert found.value == (1.0 if len(score) == 4 else 0.5)
    assert math.isnan(found.low)
    assert found.reason.startswith("limits undefined")


def two_scores(seed: int, n: int = 80) -> tuple[np.ndarray, ...]:
    """Draw kinds and two scores of the same cases that agree in part."""
    rng = np.random.default_rng(seed)
    positive = np.r_[True, True, False, False, rng.random(n - 4) < 0.4]
    shared = rng.normal(size=n) + positive
    return positive, shared + rng.normal(size=n), shared + 0.5 * rng.normal(size=n)


@pytest.mark.parametrize("seed", range(5))
def test_difference_is_mlstatkits(seed: int) -> None:
    """Difference and standard error of two areas on the same cases are those of MLstatkit's DeLong test."""
    positive, one, other = two_scores(seed)
    z, _, *_, info = Delong_test(positive.astype(int), one, other)
    found = delong_difference(positive, one, other)
    half = 1.959963985 * math.sqrt(info["var_diff"])
    assert found.value == pytest.approx(roc_auc_score(positive, one) - roc_auc_score(positive, other))
    assert found.value / math.sqrt(info["var_diff"]) == pytest.approx(-z)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=1e-8)


def test_difference_by_all_pairs() -> None:
    """With ties, the variance is that of the differences of the pairwise components."""
    positive, one, other = two_scores(9)
    parts = []
    for score in (np.round(one), np.round(other)):
        x, y = score[positive], score[~positive]
        wins = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
        parts.append((wins.mean(), wins.mean(axis=1), wins.mean(axis=0)))
    (area, v10, v01), (area_b, w10, w01) = parts
    variance = (v10 - w10).var(ddof=1) / v10.size + (v01 - w01).var(ddof=1) / v01.size
    found = delong_difference(positive, np.round(one), np.round(other))
    assert found.value == pytest.approx(area - area_b, abs=1e-12)
    assert found.high - found.low == pytest.approx(2 * 1.959963985 * math.sqrt(variance), abs=1e-8)


def test_difference_of_equal_ranks_has_no_limits() -> None:
    """Scores that rank all cases alike differ by zero, and nothing tells how far others would."""
    positive, one, _ = two_scores(2)
    found = delong_difference(positive, one, 2 * one + 3)
    assert found.value == 0
    assert np.isnan([found.low, found.high]).all()
    assert found.reason == "limits undefined: the scores show no spread to judge by"


def test_difference_needs_both_scores() -> None:
    """A case without a score at one of the two leaves the difference undefined, with the reason."""
    found = delong_difference([1, 0], [0.1, 0.2], [0.1, math.nan])
    assert math.isnan(found.value)
    assert found.reason == "a case has no score"
