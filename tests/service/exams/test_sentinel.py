"""The sentinel: what is shown is an interval, what raises the alarm holds at every moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad

from bitdose.profile.document import Profile
from bitdose.service.exams.sentinel import (
    Pair,
    alarm_of,
    certified_flips,
    first_alarm,
    log_evidence,
    lower_limit,
    watch,
)

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)


def make_pairs(flips: Any, *, patients: Any = None) -> list[Pair]:
    """Make a pair an hour."""
    return [
        Pair(
            BEGIN + timedelta(hours=i),
            f"p{i if patients is None else patients[i]}",
            "a",
            "b" if flip else "a",
        )
        for i, flip in enumerate(flips)
    ]


def test_the_evidence_is_the_mixture_of_likelihood_ratios() -> None:
    """The closed form equals numerical integration over the rates above the certified one."""
    flips, rate = np.array([0, 1, 0, 0, 1, 1, 0]), 0.08
    k, n = int(flips.sum()), flips.size

    def prior(p: float) -> float:
        return 1 / math.sqrt(p * (1 - p))

    above = quad(lambda p: p**k * (1 - p) ** (n - k) * prior(p), rate, 1)[0] / quad(prior, rate, 1)[0]
    expected = math.log(above / (rate**k * (1 - rate) ** (n - k)))
    assert log_evidence(flips, rate)[-1] == pytest.approx(expected, abs=1e-6)


def test_the_evidence_of_one_pair_by_hand() -> None:
    """The mean of p above 1/2 is 1/2 + 1/pi, so at that rate a flip counts 1 + 2/pi, its absence 1 - 2/pi."""
    assert log_evidence(np.array([1]), 0.5)[0] == pytest.approx(math.log(1 + 2 / math.pi))
    assert log_evidence(np.array([0]), 0.5)[0] == pytest.approx(math.log(1 - 2 / math.pi))


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_a_point_that_holds_raises_hardly_ever_an_alarm(rate: float) -> None:
    """At the certified rate, looked at after each of 600 pairs, few of 200 services hear an alarm."""
    rng = np.random.default_rng(7)
    draws = (rng.random((200, 600)) < rate).astype(int)
    raised = [first_alarm(flips, certified=rate, alpha=0.05) is not None for flips in draws]
    assert np.mean(raised) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)


def test_a_fixed_interval_would_not_have_done() -> None:
    """Wilson's lower limit, looked at after every pair, is above the true rate in most of these services."""
    from bitdose.stats.proportions import wilson

    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(60):
        count = np.cumsum(rng.random(1000) < 0.1)
        wrong += any(wilson(int(count[n - 1]), n).low > 0.1 for n in range(5, 1000))
    assert wrong / 60 > 0.15


def test_a_point_that_does_not_hold_is_found() -> None:
    """Three times the certified rate is found within some hundred pairs, and the limit says so."""
    rng = np.random.default_rng(1)
    found = alarm_of(make_pairs(rng.random(400) < 0.15), certified=0.05, alpha=0.05)
    assert found.raised
    assert found.low > found.certified
    assert found.since is not None
    assert found.since < BEGIN + timedelta(hours=200)


def test_a_sudden_change_after_a_long_quiet_time_is_found() -> None:
    """After 3000 pairs without a flip, a rate above the certified one is found as after 0."""
    rng = np.random.default_rng(2)
    flips = np.concatenate([np.zeros(3000, bool), rng.random(400) < 0.3])
    found = alarm_of(make_pairs(flips), certified=0.05, alpha=0.05)
    assert found.raised
    assert found.since is not None
    assert found.since < BEGIN + timedelta(hours=3200)


def test_an_alarm_stays() -> None:
    """Good days after an alarm do not take it back."""
    flips = np.concatenate([np.ones(12, bool), np.zeros(1000, bool)])
    assert alarm_of(make_pairs(flips), certified=0.05, alpha=0.05).raised


def test_a_patient_counts_once() -> None:
    """Twenty flips of one patient are one flip to the alarm, and widen the interval that is shown."""
    one = make_pairs(np.ones(20, bool), patients=[0] * 20)
    many = make_pairs(np.ones(20, bool))
    assert not alarm_of(one, certified=0.05, alpha=0.05).raised
    assert alarm_of(many, certified=0.05, alpha=0.05).raised
    shown = [watch(pairs, certified=0.05, alpha=0.05).flips for pairs in (one, many)]
    assert shown[0].n == 1
    assert shown[0].low < shown[1].low


def test_the_lower_limit_grows_with_evidence_and_is_zero_without() -> None:
    """No flip excludes no rate; half of the pairs flipping excludes more the more there are."""
    assert lower_limit(np.zeros(50, int), alpha=0.05) == 0
    some, more = (lower_limit(np.tile([0, 1], n), alpha=0.05) for n in (10, 500))
    assert 0 < some < more < 0.5


def test_the_figures_over_time() -> None:
    """A week's pairs are one period; agreement and flips are of the same pairs."""
    found = watch(make_pairs([False] * 200 + [True] * 20), certified=0.2, alpha=0.05)
    assert (found.pairs, found.agreement.value) == (220, pytest.approx(200 / 220))
    assert found.flips.value == pytest.approx(20 / 220)
    assert [(p.start - BEGIN).days for p in found.periods] == [0, 7]
    assert [p.flips.value for p in found.periods] == [0, pytest.approx(20 / 52)]


def test_without_pairs_or_a_certified_rate_nothing_is_claimed() -> None:
    """No pair gives NaN with a reason, and a profile without a flip rate no alarm."""
    empty = watch([], certified=0.1, alpha=0.05)
    assert math.isnan(empty.flips.value)
    assert empty.alarm.reason == "no pair"
    silent = alarm_of(make_pairs([True] * 50), certified=math.nan, alpha=0.05)
    assert (silent.raised, silent.reason) == (False, "the profile states no flip rate")


def test_the_certified_rate_is_that_of_the_margin(make_service_profile: Callable[..., Profile]) -> None:
    """A profile with a margin on flips is held to what it showed, not to what it accepted."""
    found, source = certified_flips(make_service_profile("jpeg:q30@256"))
    assert source == "margin flips"
    assert 2 / 300 < found < 0.1
