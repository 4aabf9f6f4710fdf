"""What DeLong's interval promises: the structural components, computed pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from bitdose.stats.delong import delong
from bitdose.stats.proportions import wilson


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


def test_one_positive_gives_no_limits() -> None:
    """A single positive tells no spread: a value with NaN limits and a reason, never zero width."""
    found = delong([1, 0, 0], [2, 3, 1])
    assert found.value == 0.5
    assert math.isnan(found.low)
    assert found.reason == "limits undefined: one positive or negative case"


@pytest.mark.parametrize("area", [0.0, 1.0])
def test_full_separation_takes_wilsons_limits_at_the_fewer(area: float) -> None:
    """Seven positives all above nine negatives, or all below: Wilson's interval of 7 of 7, or 0 of 7."""
    positive = np.arange(16) < 7
    found, share = delong(positive, np.where(positive, area, 0.5)), wilson(7 * area, 7)
    assert (found.value, found.low, found.high) == (area, share.low, share.high)
    assert found.method == "wilson-separated"
