"""What the intervals of clustered areas and of differences promise: DeLong's variance, the pairs' counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from MLstatkit import Delong_test
from scipy import stats
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from bitdose.metrics.influence import auroc_influence
from bitdose.stats.areas import area_difference, clustered_area, spread_between, turned_pairs
from bitdose.stats.delong import delong
from bitdose.stats.proportions import tango, wilson


def two_scores(seed: int, n: int = 80, *, decimals: int = 6) -> tuple[np.ndarray, ...]:
    """Draw kinds and two scores of the same cases that agree in part."""
    rng = np.random.default_rng(seed)
    positive = np.r_[True, True, False, False, rng.random(n - 4) < 0.4]
    shared = rng.normal(size=n) + positive
    one, other = (shared + noise * rng.normal(size=n) for noise in (1, 0.5))
    return positive, np.round(one, decimals), np.round(other, decimals)


def ranked(positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Say of every pair whether the positive is above, ties half."""
    x, y = score[positive], score[~positive]
    return (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])


@pytest.mark.parametrize("seed", range(5))
def test_one_case_per_patient_has_delongs_variance(seed: int) -> None:
    """Value and variance of a difference are those of MLstatkit's DeLong test of correlated areas."""
    positive, one, other = two_scores(seed)
    z, _, *_, info = Delong_test(positive.astype(int), one, other)
    pull = auroc_influence(positive, one) - auroc_influence(positive, other)
    found = spread_between(positive, pull, np.arange(positive.size))
    assert found.variance == pytest.approx(info["var_diff"])
    difference = area_difference(positive, one, other).value
    assert difference == pytest.approx(roc_auc_score(positive, one) - roc_auc_score(positive, other))
    assert difference / math.sqrt(found.variance) == pytest.approx(-z)


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_turned_pairs_are_counted_pair_by_pair(decimals: int) -> None:
    """With and without ties, the share of pairs ranked otherwise is that of all pairs listed."""
    for seed, n in enumerate((5, 6, 9, 40, 90)):
        positive, one, other = two_scores(seed, n, decimals=decimals)
        by_hand = np.abs(ranked(positive, one) - ranked(positive, other)).mean()
        assert turned_pairs(positive, one, other) == pytest.approx(by_hand, abs=1e-12)


def test_the_difference_is_tangos_at_the_effective_number_of_pairs() -> None:
    """Shares gained and lost of all pairs, their worth by DeLong's variance, put into Tango's interval."""
    positive, one, other = two_scores(3)
    change = ranked(positive, one) - ranked(positive, other)
    gained, lost = np.maximum(change, 0).mean(), np.maximum(-change, 0).mean()
    variance = Delong_test(positive.astype(int), one, other)[-1]["var_diff"]
    worth = (gained + lost - (gained - lost) ** 2) / variance
    found, expected = area_difference(positive, one, other), tango(gained * worth, lost * worth, worth)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert (found.method, found.n, found.unit) == ("tango-pairs", 80, "case")


def test_at_many_cases_it_is_delongs_interval() -> None:
    """With 4,000 cases the limits are within 2 % of their distance of the plain normal ones."""
    positive, one, other = two_scores(1, 4000)
    found = area_difference(positive, one, other)
    sd = math.sqrt(Delong_test(positive.astype(int), one, other)[-1]["var_diff"])
    assert found.high - found.value == pytest.approx(1.95996 * sd, rel=0.02)
    assert found.value - found.low == pytest.approx(1.95996 * sd, rel=0.02)


def test_cases_copied_within_patients_add_nothing() -> None:
    """Each case three times in its patient: the variance is that of the cases once, not a third of it."""
    positive, one, other = two_scores(4)
    once = area_difference(positive, one, other, np.arange(80))
    copies = [np.repeat(values, 3) for values in (positive, one, other, np.arange(80))]
    thrice = area_difference(*copies)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), abs=1e-9)
    assert (thrice.n, thrice.unit) == (80, "patient")
    alone, together = clustered_area(positive, one, np.arange(80)), clustered_area(*copies[:2], copies[3])
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=1e-9)


def test_a_clustered_area_by_hand() -> None:
    """Sums of each patient's components, over the root of 1 - its share; Satterthwaite's t on the logit."""
    positive = np.array([1, 1, 1, 0, 0, 0, 0], bool)
    score = np.array([9.0, 5, 7, 6, 4, 8, 1])
    patients = np.array([0, 0, 1, 2, 2, 3, 4])
    # Pairs won by 9, 5, 7: 4, 2, 3 of 4; lost against 6, 4, 8, 1: 2, 3, 1, 3 of 3 are won.
    area = 9 / 12
    up = (np.array([1, 0.5, 0.75]) - area) / 3
    down = (np.array([2, 3, 1, 3]) / 3 - area) / 4
    first = np.array([(up[0] + up[1]) / math.sqrt(1 / 3), up[2] / math.sqrt(2 / 3)])
    second = np.array([(down[0] + down[1]) / math.sqrt(0.5), *down[2:] / math.sqrt(0.75)])
    a, b = first @ first, second @ second
    t = stats.t.ppf(0.975, (a + b) ** 2 / (a**2 / 1 + b**2 / 2))
    half = t * math.sqrt(a + b) / (area * (1 - area))
    found = clustered_area(positive, score, patients)
    assert found.value == pytest.approx(area)
    assert (found.low, found.high) == pytest.approx((expit(logit(area) - half), expit(logit(area) + half)))
    assert (found.method, found.n, found.unit) == ("obuchowski-logit", 5, "patient")


def test_patients_of_both_kinds_count_once() -> None:
    """Where one patient's positives and negatives move together, their parts are added before squaring."""
    kinds, pull = np.array([True, True, False, False]), np.array([1.0, -1, 1, -1])
    apart = spread_between(kinds, pull, np.array([0, 1, 2, 3]))
    together = spread_between(kinds, pull, np.array([0, 1, 0, 1]))
    assert together.variance == pytest.approx(2 * apart.variance)


def test_where_no_pair_turned_the_fewer_patients_tell() -> None:
    """Scores that rank all cases alike: zero, with Tango's limits of as many unchanged cases as positives."""
    positive, one, _ = two_scores(2)
    found, same = area_difference(positive, one, 2 * one + 3), tango(0, 0, min(positive.sum(), 80))
    assert found.value == 0
    assert positive.sum() < 40
    assert (found.low, found.high) == pytest.approx((same.low, same.high), abs=1e-9)


def test_full_separation_counts_patients() -> None:
    """Three positive patients with two cases each above all others: Wilson's interval of 3 of 3."""
    patients = np.r_[np.repeat([0, 1, 2], 2), np.arange(3, 12)]
    positive = np.arange(15) < 6
    found, share = clustered_area(positive, positive.astype(float), patients), wilson(3, 3)
    assert (found.low, found.high) == pytest.approx((share.low, share.high))


@pytest.mark.parametrize(
    ("positive", "score", "reason"),
    [
        ([0, 0, 0], [0.1, 0.2, 0.3], "no positive case"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "no negative case"),
        ([1, 0, 0], [0.1, math.nan, 0.2], "a case has no score"),
    ],
)
def test_without_both_kinds_or_a_score_they_are_undefined(positive: list, score: list, reason: str) -> None:
    """No pair to rank, or a case without a score: value and limits are NaN, with the reason."""
    kinds, patients = np.array(positive), np.zeros(3, int)
    for found in (clustered_area(kinds, score, patients), area_difference(kinds, score, score, patients)):
        assert np.isnan([found.value, found.low, found.high]).all()
        assert (found.reason, found.unit) == (reason, "patient")


def test_one_patient_of_a_kind_gives_no_limits() -> None:
    """Positives of one patient only tell no spread between patients: the value stands, with the reason."""
    kinds, score, patients = np.array([1, 1, 0, 0]), np.array([3.0, 1, 2, 0]), np.array([0, 0, 1, 2])
    for found in (clustered_area(kinds, score, patients), area_difference(kinds, score, -score, patients)):
        assert not math.isnan(found.value)
        assert math.isnan(found.low)
        assert found.reason == "limits undefined: all cases of one kind belong to one patient"
    alone = area_difference([1, 0, 0], [3.0, 2, 1], [1.0, 2, 3])
    assert alone.reason == "limits undefined: one positive or negative case"


def test_the_intervals_hold_the_truth() -> None:
    """Of 400 studies of 24 patients with up to three cases each, 92 to 98 % of 95 % intervals hold it."""
    rng, held, both = np.random.default_rng(7), 0, 0
    for _ in range(400):
        patients = np.repeat(np.arange(24), rng.integers(1, 4, 24))
        positive = (np.arange(24) % 3 == 0)[patients]
        # Half of the variance is shared by a patient's cases.
        own = rng.normal(size=24)[patients] + rng.normal(size=patients.size)
        one, other = (own + shift * positive for shift in (2.2, 1.8))
        other = other + 0.3 * rng.normal(size=patients.size)
        first, second = (stats.norm.cdf(d / math.sqrt(2 * v)) for d, v in ((2.2, 2), (1.8, 2.09)))
        alone = clustered_area(positive, one, patients)
        held += alone.low <= first <= alone.high
        change = area_difference(positive, other, one, patients)
        both += change.low <= second - first <= change.high
    assert 0.92 <= held / 400 <= 0.98
    assert 0.92 <= both / 400 <= 0.98


def test_cases_of_their_own_patients_are_delongs_but_for_students_quantile() -> None:
    """Each case a patient: on the logit scale the interval is DeLong's, times t over z."""
    positive, one, _ = two_scores(6)
    plain, found = delong(positive, one), clustered_area(positive, one, np.arange(80))
    ratio = (logit(found.high) - logit(found.low)) / (logit(plain.high) - logit(plain.low))
    freedom = spread_between(positive, auroc_influence(positive, one), np.arange(80)).freedom
    assert ratio == pytest.approx(stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975))
