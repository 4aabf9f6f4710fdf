"""What the limits of a calibration error promise: they hold the truth, also where that is zero."""

from __future__ import annotations

import numpy as np
import pytest

from bitdose.stats.bootstrap import bca_interval
from bitdose.stats.gaps import gap_difference, gap_interval

DRAWS = 400


def cases_of(rng: np.random.Generator, true_gaps: np.ndarray, n: int) -> np.ndarray:
    """Draw cases whose gap, in one bin each, is on average the bin's; ``(n, bins)``."""
    bins = true_gaps.size
    bin_of, gaps = rng.integers(0, bins, n), np.zeros((n, bins))
    gaps[np.arange(n), bin_of] = true_gaps[bin_of] * bins + rng.normal(0, 0.4, n)
    return gaps


def weights_of(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw bootstrap weights that sum to one."""
    return rng.multinomial(n, np.full(n, 1 / n), DRAWS) / n


CALIBRATED, OVERSURE = np.zeros(8), np.full(8, 0.012)


@pytest.mark.parametrize("truth", [CALIBRATED, OVERSURE, 5 * OVERSURE], ids=["none", "some", "much"])
@pytest.mark.parametrize("n", [100, 300])
def test_the_interval_holds_the_truth(truth: np.ndarray, n: int) -> None:
    """At least 92 % of nominal 95 % intervals hold the true error, down to a perfect calibration."""
    rng = np.random.default_rng(n)
    held, runs, weights = 0, 300, weights_of(rng, n)  # the same draws for all runs, for speed
    for _ in range(runs):
        cases = cases_of(rng, truth, n)
        found = gap_interval(cases.mean(0), weights @ cases, n=n, level=0.95)
        assert found.low <= found.value <= found.high
        held += found.low <= np.abs(truth).sum() <= found.high
    assert held / runs >= 0.92


def test_bca_does_not_hold_a_perfect_calibration() -> None:
    """The reason for limits of their own: BCa never reaches down to a true error of zero."""
    rng = np.random.default_rng(3)
    held, weights = 0, weights_of(rng, 300)
    for _ in range(40):
        cases = cases_of(rng, CALIBRATED, 300)
        gaps, samples = cases.mean(0), np.abs(weights @ cases).sum(1)
        influence = cases @ np.sign(gaps)
        found = bca_interval(float(np.abs(gaps).sum()), samples, influence, n=300, level=0.95)
        held += found.low <= 1e-3
    assert held == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [(OVERSURE, CALIBRATED), (5 * OVERSURE, CALIBRATED), (CALIBRATED, 5 * OVERSURE), (OVERSURE, -OVERSURE)],
)
def test_the_difference_holds_the_truth(first: np.ndarray, second: np.ndarray) -> None:
    """At least 93 % hold the true difference, also where a perfect calibration is lost or won."""
    rng = np.random.default_rng(5)
    truth, held, runs, n = np.abs(first).sum() - np.abs(second).sum(), 0, 150, 300
    weights = weights_of(rng, n)
    for _ in range(runs):
        noise = cases_of(rng, CALIBRATED, n)
        # The same cases in the same bins: most of their noise is shared, the gaps are not.
        shift = [gaps * gaps.size + rng.normal(0, 0.2, (n, 1)) for gaps in (first, second)]
        arms = [noise + (noise != 0) * own for own in shift]
        gaps, samples = [arm.mean(0) for arm in arms], [weights @ arm for arm in arms]
        found = gap_difference((gaps[0], gaps[1]), (samples[0], samples[1]), n=n, level=0.95)
        assert found.low <= found.value <= found.high
        held += found.low <= truth <= found.high
    assert held / runs >= 0.93


def test_a_small_change_has_a_small_interval() -> None:
    """Where hardly a case changes, the limits are bounded by that change, not by the errors' own spread."""
    rng = np.random.default_rng(6)
    before = cases_of(rng, OVERSURE, 500)
    after = before.copy()
    after[:3] *= 1.1
    weights = weights_of(rng, 500)
    found = gap_difference(
        (after.mean(0), before.mean(0)), (weights @ after, weights @ before), n=500, level=0.95
    )
    alone = gap_interval(before.mean(0), weights @ before, n=500, level=0.95)
    assert found.high - found.low < 0.05 * (alone.high - alone.low)


def test_without_spread_there_are_no_limits() -> None:
    """Equal arms, draws all alike or undefined: the value stands, the limits are NaN with a reason."""
    gaps, samples = np.array([0.1, -0.2]), np.random.default_rng(1).normal(0, 1, (50, 2))
    same = gap_difference((gaps, gaps), (samples, samples), n=9, level=0.95)
    assert (same.value, same.reason) == (0.0, "limits undefined: all bootstrap samples have the same value")
    still = gap_interval(gaps, np.tile(gaps, (50, 1)), n=9, level=0.95)
    assert still.value == pytest.approx(0.3)
    assert np.isnan([same.low, still.low, still.high]).all()
    none = gap_interval(gaps, np.full((5, 2), np.nan), n=9, level=0.95)
    assert none.reason == "limits undefined: the metric is undefined in every bootstrap sample"


def test_the_name_says_the_unit() -> None:
    """The method's name starts with the resampling unit, as those of the other bootstraps do."""
    draws = np.random.default_rng(0).normal(0, 1, (50, 2))
    found = gap_interval(np.zeros(2), draws, n=7, level=0.9, unit="case")
    assert (found.method, found.unit, found.n, found.level) == ("case-bootstrap-gaps", "case", 7, 0.9)
