"""Tests of a loss against a margin: published counts, exact references, and what they may not do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from bitdose.stats.noninferiority import (
    _dirichlet_p,
    both,
    cases_needed,
    draws_for,
    draws_test,
    paired_loss_test,
    rate_test,
    tango_p,
    untestable,
)
from bitdose.stats.proportions import tango, wilson

# Cases needed to show harmful flips <= limit at 95 % with so many seen (binomial tail).
NEEDED = {
    0.01: {0: 299, 1: 473, 2: 628, 3: 773, 5: 1049, 10: 1693},
    0.02: {0: 149, 1: 236, 2: 313, 3: 386, 5: 523, 10: 845},
    0.05: {0: 59, 1: 93, 2: 124, 3: 153, 5: 208, 10: 336},
}


@pytest.mark.parametrize("limit", NEEDED)
def test_the_cases_needed_for_a_bound_on_flips_are_the_published_ones(limit: float) -> None:
    """The first n that passes, for each number of flips seen."""
    for seen, n in NEEDED[limit].items():
        assert rate_test(seen, n, margin=limit, alpha=0.05).passed
        assert not rate_test(seen, n - 1, margin=limit, alpha=0.05).passed


@pytest.mark.parametrize(("count", "n"), [(0, 30), (3, 100), (17, 1761), (5, 5)])
def test_the_limit_of_a_rate_is_clopper_pearsons(count: int, n: int) -> None:
    """Against statsmodels' beta method and scipy's exact test."""
    found = rate_test(count, n, margin=0.02, alpha=0.05)
    _, upper = proportion_confint(count, n, alpha=0.1, method="beta")
    assert found.upper == pytest.approx(upper)
    assert found.p == pytest.approx(stats.binomtest(count, n, 0.02, alternative="less").pvalue)


@pytest.mark.parametrize(("gained", "lost", "n"), [(12, 2, 50), (0, 1, 44), (0, 0, 100), (3, 12, 200)])
def test_tangos_p_value_and_tangos_limit_say_the_same(gained: int, lost: int, n: int) -> None:
    """At the lower limit of a 95 % interval the one-sided p-value is 2.5 %."""
    limits = tango(gained, lost, n, level=0.95)
    assert tango_p(gained, lost, n, -limits.low) == pytest.approx(0.025, abs=1e-6)


@pytest.mark.parametrize("lost", [0, 1, 4, 20])
def test_without_gains_the_dirichlet_test_is_the_exact_binomial_one(lost: int) -> None:
    """A loss without gains is a rate, and Clopper-Pearson is what the worst-case draw gives."""
    assert _dirichlet_p(0, lost, 300, 0.03) == pytest.approx(stats.binom.cdf(lost, 300, 0.03))


@pytest.mark.parametrize(
    ("gained", "lost", "n", "margin"),
    [
        (4, 6, 200, 0.02),
        (12, 2, 50, -0.1),
        (2, 12, 50, 0.3),
        (5, 1, 100, -0.01),
        (3, 0, 6, 0.1),
        (2, 4, 6, 0.5),
    ],
)
def test_the_dirichlet_p_value_is_that_of_a_million_draws(
    gained: int, lost: int, n: int, margin: float
) -> None:
    """Gamma weights of gains, losses with the worst case, and the rest, drawn one by one."""
    rng = np.random.default_rng(1)
    counts = (gained, lost + 1, n - gained - lost)
    g, c, r = (rng.gamma(k, size=10**6) if k else np.zeros(10**6) for k in counts)
    assert _dirichlet_p(gained, lost, n, margin) == pytest.approx(
        ((c - g) / (g + c + r) >= margin).mean(), abs=3e-3
    )


def test_a_limit_and_a_p_value_agree_on_what_passes() -> None:
    """A test passes just when the limit is below the margin, over a grid of counts and margins."""
    for gained in (0, 2, 9):
        for lost in (0, 1, 5, 12):
            for margin in (0.01, 0.03, 0.08):
                found = paired_loss_test(gained, lost, 220, margin=margin, alpha=0.05)
                assert found.passed == (found.upper < margin)
                assert found.upper >= -tango(gained, lost, 220, level=0.9).low - 1e-9


def test_more_losses_never_help() -> None:
    """The p-value rises with each case lost and falls with each case gained."""
    p = [[paired_loss_test(g, c, 150, margin=0.05, alpha=0.05).p for c in range(10)] for g in range(6)]
    assert (np.diff(p, axis=1) > 0).all()
    assert (np.diff(p, axis=0) < 0).all()


def test_what_179_cases_cannot_show_and_1761_can() -> None:
    """A margin of 2 points at one-sided 97.5 %, with no decision changed."""
    few = paired_loss_test(0, 0, 179, margin=0.02, alpha=0.025)
    assert not few.passed
    assert few.upper == pytest.approx(0.0210, abs=5e-5)
    assert paired_loss_test(0, 0, 1761, margin=0.02, alpha=0.025).passed


@pytest.mark.parametrize("alpha", [0.05, 0.0125])
@pytest.mark.parametrize("margin", [0.01, 0.02, 0.1])
def test_the_cases_needed_are_the_least_that_pass(margin: float, alpha: float) -> None:
    """With nothing changed, one case fewer fails."""
    n = cases_needed(margin, alpha=alpha)
    assert paired_loss_test(0, 0, n, margin=margin, alpha=alpha).passed
    assert not paired_loss_test(0, 0, n - 1, margin=margin, alpha=alpha).passed


def test_losses_raise_the_cases_needed_and_a_loss_of_the_margin_makes_them_endless() -> None:
    """Minus one stands for: no number would do."""
    free, some, more = (cases_needed(0.02, alpha=0.05, loss=x, changed=x) for x in (0, 0.005, 0.01))
    assert free < some < more
    assert cases_needed(0.02, alpha=0.05, loss=0.02) == -1


def test_draws_that_leave_a_metric_undefined_count_against_passing() -> None:
    """NaN is no evidence; the limit is then infinite."""
    samples = np.linspace(-0.01, 0.01, 999)
    known = draws_test(0.0, samples, margin=0.02, alpha=0.05, n=50, unit="case")
    assert known.passed
    assert known.upper == pytest.approx(np.quantile(samples, 0.95), abs=1e-4)
    samples[::10] = np.nan
    unknown = draws_test(0.0, samples, margin=0.02, alpha=0.05, n=50, unit="case")
    assert not unknown.passed
    assert unknown.upper == math.inf


def test_what_cannot_be_tested_does_not_pass_and_says_why() -> None:
    """NaN all through, also where it is joined to a test that passes."""
    none = paired_loss_test(0, 0, 0, margin=0.02, alpha=0.05)
    assert none.reason == "no paired case"
    assert not none.passed
    assert rate_test(0, 0, margin=0.02, alpha=0.05).reason == "no case"
    good = rate_test(0, 500, margin=0.02, alpha=0.05)
    assert both(good, untestable("no score", margin=0.02, alpha=0.05)).reason == "no score"
    nan = draws_test(math.nan, np.zeros(3), margin=0.02, alpha=0.05, n=3, unit="case")
    assert math.isnan(nan.upper)
    assert not nan.passed


def test_draws_grow_as_alpha_shrinks() -> None:
    """At least fifty draws lie beyond the limit, down to an alpha of a four hundredth."""
    for alpha in (0.05, 0.0125, 0.0025):
        assert draws_for(alpha) * alpha >= 50


def test_wilson_is_less_careful_than_the_worst_case() -> None:
    """At no loss seen and one-sided 95 % Wilson's limit excludes what the exact one does not."""
    assert wilson(0, 300, level=0.9).high < paired_loss_test(0, 0, 300, margin=0.01, alpha=0.05).upper
