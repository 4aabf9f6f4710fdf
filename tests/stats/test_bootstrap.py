"""What the paired patient bootstrap promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitdose.hashing import rng_for
from bitdose.stats.bootstrap import patient_draws, percentile_interval, resampled_counts

PATIENTS = ["a", "a", "b", "c", "d", "d", "e"]
LABELS = ["x", "x", "x", "y", "y", "y", "y"]


def test_strata_keep_their_sizes() -> None:
    """Every draw takes as many patients of each class as there are: a, b of x and c, d, e of y."""
    weights, patient_of_case = patient_draws(PATIENTS, LABELS, draws=200, rng=np.random.default_rng(0))
    assert patient_of_case.tolist() == [0, 0, 1, 2, 3, 3, 4]
    assert weights.shape == (200, 5)
    assert set(weights[:, :2].sum(axis=1)) == {2}
    assert set(weights[:, 2:].sum(axis=1)) == {3}
    assert weights.max() > 1


def test_the_draw_does_not_depend_on_the_order_of_cases() -> None:
    """Seeded by names, cases in reverse order give every patient the same weights."""
    forward, _ = patient_draws(PATIENTS, LABELS, draws=50, rng=rng_for(0, "boot"))
    backward, cases = patient_draws(PATIENTS[::-1], LABELS[::-1], draws=50, rng=rng_for(0, "boot"))
    np.testing.assert_array_equal(forward, backward)
    assert cases.tolist() == [4, 3, 3, 2, 1, 0, 0]


def test_counts_follow_the_weights() -> None:
    """A draw's counts are those of its patients, times drawn, against a plain loop."""
    rng = np.random.default_rng(1)
    weights, patient_of_case = patient_draws(PATIENTS, LABELS, draws=20, rng=rng)
    per_case = rng.integers(0, 4, (7, 3))
    expected = [sum(w[patient_of_case[i]] * per_case[i] for i in range(7)) for w in weights]
    np.testing.assert_array_equal(resampled_counts(per_case, weights, patient_of_case), expected)


def test_both_arms_share_a_draw() -> None:
    """A point compared with itself differs by zero in every draw, not only on average."""
    weights, patient_of_case = patient_draws(PATIENTS, LABELS, draws=100, rng=np.random.default_rng(2))
    right = np.array([[1], [0], [1], [1], [0], [1], [0]])
    one, other = (resampled_counts(right, weights, patient_of_case) for _ in range(2))
    assert not (one - other).any()
    assert np.unique(one).size > 1


def test_limits_are_the_percentiles_of_numpy() -> None:
    """The 90 % limits are the 5th and 95th percentile of the draws that are defined."""
    samples = np.random.default_rng(3).normal(size=501)
    found = percentile_interval(0.1, np.r_[samples, np.nan], n=12, level=0.9)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(samples, [5, 95])), abs=1e-12)
    assert (found.value, found.n, found.method) == (0.1, 12, "patient-bootstrap-percentile")


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    """For the mean of 400 independent cases the percentiles come to mean ± 1.96 s / sqrt(n)."""
    hits = (np.random.default_rng(4).random(400) < 0.3).astype(np.int64)[:, None]
    names = [f"{i:03d}" for i in range(400)]
    weights, cases = patient_draws(names, ["x"] * 400, draws=4000, rng=np.random.default_rng(5))
    means = resampled_counts(hits, weights, cases)[:, 0] / 400
    found = percentile_interval(float(hits.mean()), means, n=400, level=0.95)
    half = 1.96 * hits.std() / 20
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.ones(50), "limits undefined: every bootstrap draw gives the same value"),
        (np.full(50, np.nan), "limits undefined: no bootstrap draw defines the metric"),
    ],
)
def test_degenerate_draws_give_no_limits(samples: np.ndarray, reason: str) -> None:
    """Draws without spread, or none defined: NaN limits and a reason, never zero width."""
    found = percentile_interval(1.0, samples, n=50, level=0.95)
    assert found.value == 1.0
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.reason == reason


def test_an_undefined_value_keeps_its_reason() -> None:
    """Where the full set leaves the metric undefined, so is the estimate, for that reason."""
    found = percentile_interval(math.nan, np.ones(5), n=5, level=0.95, reason="no case of class 'x'")
    assert (found.to_dict()["value"], found.reason) == (None, "no case of class 'x'")
