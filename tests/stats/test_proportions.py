"""What the intervals of proportions promise: printed values, statsmodels, and their defining equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from bitdose.stats.proportions import mcnemar_midp, smallest_provable_loss, tango, wilson, z_of


def tango_score(gained: int, lost: int, n: int, d: float) -> float:
    """Score statistic of a difference d, its chances those of the greatest likelihood, not of the formula."""

    def unlikely(q: float) -> float:
        chances = q + d, q, 1 - 2 * q - d
        return -sum(xlogy(k, p) for k, p in zip((gained, lost, n - gained - lost), chances, strict=True))

    q = minimize_scalar(
        unlikely, bounds=(max(0.0, -d), (1 - d) / 2), method="bounded", options={"xatol": 1e-12}
    ).x
    return (gained - lost - n * d) / math.sqrt(n * (2 * q + d - d * d))


def test_normal_quantiles() -> None:
    """95 % takes 1.9600, 90 % takes 1.6449."""
    assert round(z_of(0.95), 4) == 1.96
    assert round(z_of(0.90), 4) == 1.6449


@pytest.mark.parametrize("level", [0.90, 0.95, 0.99])
@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 7), (10, 10), (180, 220), (1649, 1761)])
def test_wilson_agrees_with_statsmodels(successes: int, n: int, level: float) -> None:
    """Limits are statsmodels' ``proportion_confint(method="wilson")``, at the edges too."""
    found = wilson(successes, n, level=level)
    expected = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    assert (found.value, found.n, found.method) == (successes / n, n, "wilson")


def test_wilson_by_hand() -> None:
    """None of z² cases (n = z²) gives 0 to 1/2: the upper limit is z² / (n + z²)."""
    z_squared = z_of(0.95) ** 2
    found = wilson(0, z_squared)
    assert found.low == pytest.approx(0, abs=1e-15)
    assert found.high == pytest.approx(0.5, abs=1e-12)


def test_wilson_without_cases_is_undefined() -> None:
    """No case: NaN and the reason."""
    found = wilson(0, 0, what="case of class 'covid-19'")
    assert math.isnan(found.value)
    assert found.reason == "no case of class 'covid-19'"


@pytest.mark.parametrize(
    ("gained", "lost", "n", "low", "high"),
    [(12, 2, 50, 0.06111, 0.34471), (0, 1, 44, -0.11808, 0.05939), (0, 0, 100, -0.03699, 0.03699)],
)
def test_tango_printed_values(gained: int, lost: int, n: int, low: float, high: float) -> None:
    """The 95 % limits are the published ones to the printed digit."""
    found = tango(gained, lost, n)
    assert (round(found.low, 5), round(found.high, 5)) == (low, high)
    assert found.value == (gained - lost) / n


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(12, 2, 50), (0, 1, 44), (3, 3, 30), (7, 0, 9), (40, 90, 1761)]
)
@pytest.mark.parametrize("level", [0.90, 0.95])
def test_tango_limits_are_where_the_score_is_z(gained: int, lost: int, n: int, level: float) -> None:
    """At the lower limit the score statistic by maximum likelihood is +z, at the upper one -z."""
    found = tango(gained, lost, n, level=level)
    assert tango_score(gained, lost, n, found.low) == pytest.approx(z_of(level), abs=1e-4)
    assert tango_score(gained, lost, n, found.high) == pytest.approx(-z_of(level), abs=1e-4)


def test_tango_is_antisymmetric() -> None:
    """Swapping gained and lost swaps the limits and their signs."""
    rng = np.random.default_rng(0)
    for gained, lost in rng.integers(0, 20, (25, 2)).tolist():
        one, other = tango(gained, lost, 60), tango(lost, gained, 60)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)
        assert one.low < one.value < one.high


def test_tango_at_the_ends_stays_in_range() -> None:
    """Every case gained, or every case lost: one limit is the value, and both are in [-1, 1]."""
    assert tango(8, 0, 8).high == 1.0
    assert tango(0, 8, 8).low == -1.0
    assert -1 < tango(8, 0, 8).low < 1


def test_tango_without_pairs_is_undefined() -> None:
    """No paired case: NaN and the reason."""
    assert tango(0, 0, 0).to_dict()["low"] is None
    assert tango(0, 0, 0).reason == "no paired case"


@pytest.mark.parametrize(
    ("gained", "lost", "exact", "midp"),
    [
        (1, 7, 0.07031, 0.03906),
        (3, 12, 0.03516, 0.02127),
        (10, 30, 0.00222, 0.00145),
        (0, 5, 0.06250, 0.03125),
    ],
)
def test_mcnemar_printed_values(gained: int, lost: int, exact: float, midp: float) -> None:
    """Mid-p values are the published ones; the exact test (statsmodels) is always above."""
    assert round(mcnemar_midp(gained, lost), 5) == midp
    assert round(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue, 5) == exact


def test_mcnemar_midp_by_hand() -> None:
    """For 1 and 7 of eight: 2 (1 + 8)/256 - 8/256 = 10/256; the order does not matter."""
    assert mcnemar_midp(1, 7) == pytest.approx(10 / 256, abs=1e-15)
    assert mcnemar_midp(7, 1) == mcnemar_midp(1, 7)


def test_mcnemar_agrees_with_the_exact_test_less_half_the_seen_table() -> None:
    """Mid-p is the exact p of statsmodels less the probability of the table that was seen."""
    for gained, lost in [(2, 9), (0, 3), (5, 21), (14, 18)]:
        exact = mcnemar([[0, gained], [lost, 0]], exact=True).pvalue
        seen = math.comb(gained + lost, gained) / 2 ** (gained + lost)
        assert mcnemar_midp(gained, lost) == pytest.approx(exact - seen, abs=1e-12)


@pytest.mark.parametrize("both", [0, 1, 6])
def test_as_many_gained_as_lost_is_no_evidence(both: int) -> None:
    """With no change, or as many either way, p is near 1 and never above."""
    p = mcnemar_midp(both, both)
    assert p <= 1
    assert p == pytest.approx(1.0) if both == 0 else p > 0.5


def test_what_179_cases_cannot_show() -> None:
    """179 unchanged cases exclude a loss of 2.10 points and no less; 1,761 exclude 0.22."""
    assert round(100 * smallest_provable_loss(179), 2) == 2.10
    assert round(100 * smallest_provable_loss(1761), 2) == 0.22
    assert smallest_provable_loss(179) == pytest.approx(-tango(0, 0, 179).low, abs=1e-9)
    assert math.isnan(smallest_provable_loss(0))
