"""Sentinel: monitoring of the certified point by agreement and flips of coded-pristine pairs.

Two sets of figures, for two uses:

- **display**: the share of pairs whose predictions agree or flip, overall and by period, with Wilson's
  interval at the effective sample size (a patient's pairs are correlated);
- **the alarm** is evaluated after every pair, for as long as the service runs. An interval of fixed level
  would eventually raise it by chance, so it is an anytime-valid test. If the flip rate is at most ``r``, the
  mixture of likelihood ratios

  ``E = ∫ p^k (1-p)^(n-k) w(p) dp / (r^k (1-r)^(n-k))``, ``w`` being Jeffreys' prior cut to ``(r, 1)``,

  has mean at most 1, and ever exceeds ``1/a`` with probability at most ``a`` (Ville's inequality). ``r``
  is the certified upper limit of the flip rate: the alarm is raised when the live rate's lower limit exceeds
  it. Only the first pair of a patient counts, so that pairs are independent.

A long period without flips would mask a sudden change, so a new test starts every ``RESTART`` pairs beside
the older ones, each of which runs for ``SPAN`` pairs. The j-th has level ``6 alpha / (pi j)^2``, in total at
most ``alpha``.

References
----------
Ville 1939, Étude critique de la notion de collectif. Waudby-Smith & Ramdas 2024, JRSS-B 86:1,
doi 10.1093/jrsssb/qkad009. Mixtures of likelihood ratios: Robbins 1970, Ann Math Stat 41:1397,
doi 10.1214/aoms/1177696786.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from bitdose.profile.document import Profile
from bitdose.stats.clusters import clustered_wilson
from bitdose.stats.estimate import Estimate

RESTART = 200
SPAN = 2000

_FLIPS, _SHARE = "flips", "flips.share"
_HALF = 0.5


@dataclass(frozen=True)
class Pair:
    """Both predictions of one exam, the time of the second, and the patient's pseudonym."""

    at: datetime
    patient: str
    coded: str
    pristine: str

    @property
    def flipped(self) -> bool:
        """Whether the predictions differ."""
        return self.coded != self.pristine


@dataclass(frozen=True)
class Alarm:
    """State of the test.

    Parameters
    ----------
    raised : bool
        Whether the alarm was ever raised for these pairs.
    since : datetime or None
        The pair that raised it.
    certified : float
        Certified upper limit of the flip rate; NaN if the profile states none.
    low : float
        Running maximum of the lower confidence limit of the rate; NaN without pairs.
    n, flips : int
        Number of pairs of different patients, and of flips among them.
    alpha : float
        Probability of ever raising the alarm while the rate is at most ``certified``.
    reason : str
        Why there is no comparison; empty otherwise.
    """

    raised: bool
    since: datetime | None
    certified: float
    low: float
    n: int
    flips: int
    alpha: float
    reason: str = ""


@dataclass(frozen=True)
class Period:
    """Flips of the pairs of one period."""

    start: datetime
    flips: Estimate


@dataclass(frozen=True)
class Watch:
    """Statistics of the sentinel."""

    pairs: int
    agreement: Estimate
    flips: Estimate
    periods: tuple[Period, ...]
    alarm: Alarm


def certified_flips(profile: Profile) -> tuple[float, str]:
    """Return a profile's upper limit of the flip rate, and the field that states it.

    That of the margin ``flips`` if the rule had one, else the upper end of the interval of ``flips.share``;
    NaN and an empty text where the profile has neither.
    """
    for proof in profile.evidence.margins:
        if proof.metric == _FLIPS:
            return proof.upper, f"margin {_FLIPS}"
    for reading in profile.evidence.estimates:
        if reading.metric == _SHARE and reading.high is not None:
            return reading.high, f"estimate {_SHARE}"
    return math.nan, ""


def watch(
    pairs: Sequence[Pair], *, certified: float, alpha: float, period: timedelta = timedelta(days=7)
) -> Watch:
    """Compute the sentinel's statistics.

    Parameters
    ----------
    pairs : sequence of Pair
        Pairs of one profile and one classifier, in any order.
    certified : float
        Upper limit of the flip rate, in (0, 1); NaN disables the alarm, with the reason.
    alpha : float
        Probability of ever raising a false alarm.
    period : datetime.timedelta
        Length of the periods, which start with the first pair.
    """
    ordered = sorted(pairs, key=lambda pair: (pair.at, pair.patient))
    flipped = np.array([pair.flipped for pair in ordered], bool)
    patients = np.array([pair.patient for pair in ordered])
    return Watch(
        len(ordered),
        clustered_wilson(~flipped, patients, what="pair"),
        clustered_wilson(flipped, patients, what="pair"),
        _periods(ordered, flipped, patients, period),
        alarm_of(ordered, certified=certified, alpha=alpha),
    )


def alarm_of(pairs: Sequence[Pair], *, certified: float, alpha: float) -> Alarm:
    """Run the test over pairs in chronological order; see the top of this module."""
    first = list({pair.patient: pair for pair in reversed(pairs)}.values())
    first.sort(key=lambda pair: (pair.at, pair.patient))
    flips = np.array([pair.flipped for pair in first], int)
    n, count = flips.size, int(flips.sum())
    if not 0 < certified < 1:
        reason = "the profile states no flip rate"
        return Alarm(False, None, math.nan, math.nan, n, count, alpha, reason)  # noqa: FBT003
    if not n:
        return Alarm(False, None, certified, math.nan, 0, 0, alpha, "no pair")  # noqa: FBT003
    at = first_alarm(flips, certified=certified, alpha=alpha)
    low = max(lower_limit(part, alpha=level) for _, part, level in _tests(flips, alpha))
    return Alarm(at is not None, None if at is None else first[at].at, certified, low, n, count, alpha)


def first_alarm(flips: NDArray[np.int_], *, certified: float, alpha: float) -> int | None:
    """Return the index of the pair at which the alarm is raised, None if it is not.

    Parameters
    ----------
    flips : numpy.ndarray
        ``(n,)`` 0 or 1, of different patients, in chronological order.
    certified : float
        In (0, 1).
    alpha : float
        Probability of ever raising the alarm while the rate is at most ``certified``.

    Examples
    --------
    >>> first_alarm(np.ones(9, int), certified=0.05, alpha=0.05)
    1
    """
    hits = [
        start + int(above[0])
        for start, part, level in _tests(flips, alpha)
        for above in [np.flatnonzero(log_evidence(part, certified) >= -math.log(level))]
        if above.size
    ]
    return min(hits, default=None)


def _tests(flips: NDArray[np.int_], alpha: float) -> Iterator[tuple[int, NDArray[np.int_], float]]:
    """Yield each test's first pair, its pairs, and its share of alpha."""
    for number, start in enumerate(range(0, flips.size, RESTART), start=1):
        yield start, flips[start : start + SPAN], 6 * alpha / (math.pi * number) ** 2


def log_evidence(flips: NDArray[np.int_], rate: float) -> NDArray[np.float64]:
    """Natural logarithm of the evidence against a rate of at most ``rate``, after each pair.

    Parameters
    ----------
    flips : numpy.ndarray
        ``(n,)`` 0 or 1, in chronological order.
    rate : float
        In (0, 1).

    Examples
    --------
    >>> bool(log_evidence(np.ones(3, int), 0.05)[-1] > np.log(1 / 0.05))
    True
    """
    from scipy.special import betaincc, betaln

    n = np.arange(1, flips.size + 1)
    k = np.cumsum(flips)
    a, b = k + _HALF, n - k + _HALF
    with np.errstate(divide="ignore"):  # no weight above the rate: evidence 0, its logarithm minus infinity
        mixture = betaln(a, b) + np.log(betaincc(a, b, rate))
    prior = betaln(_HALF, _HALF) + np.log(betaincc(_HALF, _HALF, rate))
    return np.asarray(mixture - prior - k * np.log(rate) - (n - k) * np.log1p(-rate))


def lower_limit(flips: NDArray[np.int_], *, alpha: float) -> float:
    """Return the running maximum of the lower confidence limit of the rate; 0 if none.

    With probability at least ``1 - alpha`` it never exceeds the true rate, at any stopping time.
    """
    needed = -math.log(alpha)
    low, high = 0.0, 1.0
    for _ in range(14):  # to 0.0001, rounded down
        middle = (low + high) / 2
        excluded = log_evidence(flips, middle).max() >= needed
        low, high = (middle, high) if excluded else (low, middle)
    return low


def _periods(
    pairs: Sequence[Pair], flipped: NDArray[np.bool_], patients: NDArray[np.str_], period: timedelta
) -> tuple[Period, ...]:
    if not pairs:
        return ()
    begin = pairs[0].at
    index = np.array([(pair.at - begin) // period for pair in pairs])
    return tuple(
        Period(begin + int(which) * period, clustered_wilson(flipped[chosen], patients[chosen], what="pair"))
        for which in np.unique(index)
        for chosen in [index == which]
    )
