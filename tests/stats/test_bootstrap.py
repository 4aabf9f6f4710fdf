"""What the paired patient bootstrap promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bitdose.hashing import rng_for
from bitdose.metrics.classification import auroc
from bitdose.metrics.influence import auroc_influence
from bitdose.stats.bootstrap import (
    bca_interval,
    patient_draws,
)

PATIENTS = ["a", "a", "b", "c", "d", "d", "e"]
LABELS = ["x", "x", "x", "y", "y", "y", "y"]


def test_each_class_draws_its_own_patients() -> None:
    """Over the weight of its class a patient counts a whole number of times, and they add up to the class."""
    weights, patient_of_case = patient_draws(PATIENTS, LABELS, draws=200, rng=np.random.default_rng(0))
    assert patient_of_case.tolist() == [0, 0, 1, 2, 3, 3, 4]
    assert weights.shape == (200, 5)
    for members in (weights[:, :2], weights[:, 2:]):
        counts = members / members.sum(1, keepdims=True) * members.shape[1]
        np.testing.assert_allclose(counts, np.rint(counts), atol=1e-9)
        assert counts.max() > 1


def test_the_mix_of_classes_is_drawn_as_another_sample_would_have_it() -> None:
    """A class's share scatters as a multinomial share does, and no draw loses a class."""
    names = [f"{i:02d}" for i in range(60)]
    classes = ["rare"] * 6 + ["common"] * 54
    weights, _ = patient_draws(names, classes, draws=20_000, rng=np.random.default_rng(1))
    rare = weights[:, :6].sum(1) / weights.sum(1)
    assert rare.min() > 0
    assert rare.mean() == pytest.approx(0.1, abs=0.002)
    assert rare.std() == pytest.approx(math.sqrt(0.1 * 0.9 / 60), rel=0.03)


def test_the_draw_does_not_depend_on_the_order_of_cases() -> None:
    """Seeded by names, cases in reverse order give every patient the same weights."""
    forward, _ = patient_draws(PATIENTS, LABELS, draws=50, rng=rng_for(0, "boot"))
    backward, cases = patient_draws(PATIENTS[::-1], LABELS[::-1], draws=50, rng=rng_for(0, "boot"))
    np.testing.assert_array_equal(forward, backward)
    assert cases.tolist() == [4, 3, 3, 2, 1, 0, 0]


def skewed_mean(level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Draw 40 skewed values and the means of 20,000 resamples of them."""
    rng = np.random.default_rng(6)
    values = rng.exponential(size=40) ** 1.5
    return values, values[rng.integers(0, 40, (20000, 40))].mean(1)


def test_bca_of_a_mean_by_the_formula() -> None:
    """Skewness over 6 sqrt(n) is the acceleration, the share of draws below gives the bias."""
    values, means = skewed_mean()
    found = bca_interval(float(values.mean()), means, values, n=40, level=0.9)
    a = stats.skew(values) / (6 * math.sqrt(40))
    z0 = stats.norm.ppf((means < values.mean()).mean())
    shares = [stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in stats.norm.ppf([0.05, 0.95])]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, shares)), rel=1e-12)
    assert (found.method, found.unit, found.n) == ("patient-bootstrap-bca", "patient", 40)


def test_bca_of_a_mean_is_scipys() -> None:
    """On the same skewed values scipy's own BCa limits differ by no more than the draws do."""
    values, means = skewed_mean()
    found = bca_interval(float(values.mean()), means, values, n=40, level=0.95)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="BCa", rng=np.random.default_rng(8)
    ).confidence_interval
    percentile_high = np.quantile(means, 0.975)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=0.02)
    assert abs(percentile_high - theirs.high) > 3 * abs(found.high - theirs.high)


def test_bca_of_an_area_is_scipys() -> None:
    """Positives and negatives drawn apart: the limits are scipy's for a statistic of two samples."""
    rng = np.random.default_rng(1)
    score = np.r_[rng.normal(1.3, 1, 25), rng.normal(0, 1, 60)]
    positive = np.arange(85) < 25

    def area(above: np.ndarray, below: np.ndarray, axis: int = -1) -> np.ndarray:
        return (above[..., :, None] > below[..., None, :]).mean((-1, -2))

    sides = score[positive], score[~positive]
    theirs = stats.bootstrap(
        sides, area, n_resamples=4000, method="BCa", batch=500, rng=np.random.default_rng(2)
    )
    found = bca_interval(
        auroc(positive, score),
        theirs.bootstrap_distribution,
        auroc_influence(positive, score),
        n=85,
        level=0.95,
    )
    limits = theirs.confidence_interval
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high), abs=1e-3)


def test_bca_without_skew_and_bias_is_the_percentile_interval() -> None:
    """Symmetric draws about the value and symmetric influence leave the percentiles as they are."""
    samples = np.linspace(-1, 1, 2001)
    symmetric = np.r_[-np.arange(20.0), np.arange(20.0)]
    found = bca_interval(0.0, samples, symmetric, n=40, level=0.9)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(samples, [0.05, 0.95])), abs=1e-12)


def test_ties_count_half() -> None:
    """Of draws a third below, a third at and a third above the value, none shows a bias."""
    samples = np.repeat([0.0, 1.0, 2.0], 100)
    balanced = np.r_[-np.ones(20), np.ones(20)]
    found = bca_interval(1.0, samples, balanced, n=40, level=0.5)
    assert (found.low, found.high) == (0.0, 2.0)


def test_influence_is_centred() -> None:
    """A constant added to the influence changes nothing."""
    values, means = skewed_mean()
    limits = [
        bca_interval(float(values.mean()), means, values + shift, n=40, level=0.95) for shift in (0.0, 9.0)
    ]
    assert limits[0].high == pytest.approx(limits[1].high, rel=1e-12)


@pytest.mark.parametrize(
    ("samples", "influence", "reason"),
    [
        (np.ones(50), np.arange(40.0), "all bootstrap samples have the same value"),
        (1 + 1e-16 * np.arange(50), np.arange(40.0), "all bootstrap samples have the same value"),
        (np.full(50, np.nan), np.arange(40.0), "the metric is undefined in every bootstrap sample"),
        (np.arange(2.0, 52), np.arange(40.0), "all bootstrap samples lie on one side of the value"),
        (np.arange(50.0), np.ones(40), "no patient moves the metric"),
    ],
)
def test_bca_without_spread_gives_no_limits(samples: np.ndarray, influence: np.ndarray, reason: str) -> None:
    """No spread, no draw, or nothing to correct a bias by: a value with NaN limits and the reason."""
    found = bca_interval(1.0, samples, influence, n=40, level=0.95)
    assert found.value == 1.0
    assert np.isnan([found.low, found.high]).all()
    assert found.reason == f"limits undefined: {reason}"


def test_bca_of_an_undefined_value_keeps_its_reason() -> None:
    """Where the full set leaves the metric undefined, so is the estimate, for that reason."""
    nothing = np.full(40, np.nan)
    found = bca_interval(math.nan, np.ones(5), nothing, n=40, level=0.95, reason="no case")
    assert (found.to_dict()["value"], found.reason) == (None, "no case")
