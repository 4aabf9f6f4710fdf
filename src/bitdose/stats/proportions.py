"""Intervals and tests for one proportion and for two paired ones."""

from __future__ import annotations

import math
from collections.abc import Callable

from bitdose.stats.estimate import Estimate, undefined

_HALVINGS = 54  # of an interval of length 2, to double precision


def z_of(level: float) -> float:
    """Two-sided normal quantile of a confidence level in (0, 1): 1.9600 for 0.95."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))


def wilson(successes: float, n: float, *, level: float = 0.95, what: str = "case") -> Estimate:
    """Wilson's score interval for a proportion.

    ``(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)``

    Parameters
    ----------
    successes, n : float
        Counts, or effective counts (see ``clusters.py``); ``n = 0`` gives NaN with a reason.
    level : float
        Confidence level in (0, 1).
    what : str
        What is counted, for the reason where there is none.

    References
    ----------
    Wilson 1927, JASA 22:209, doi 10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> f"{wilson(180, 220):.3f}"
    '0.818 (0.762 to 0.864)'
    """
    if n == 0:
        return undefined(f"no {what}", level=level)
    z, p = z_of(level), successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
    return Estimate(p, low, high, level, "wilson", round(n))


def tango(gained: float, lost: float, n: float, *, level: float = 0.95) -> Estimate:
    """Tango's score interval for the difference of two paired proportions.

    The limits are the roots d of ``(b - c - n d) / sqrt(n (2q + d (1 - d))) = ±z`` with
    ``q = (sqrt(B² - 4AC) - B) / 2A``, ``A = 2n``, ``B = -b - c + (2n - b + c) d``,
    ``C = -c d (1 - d)``, found by bisection.

    Parameters
    ----------
    gained : float
        b: cases wrong before and right after (or an effective count, see ``clusters.py``).
    lost : float
        c: cases right before and wrong after.
    n : float
        All paired cases.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Estimate
        Of (after - before), in [-1, 1]; NaN with a reason where ``n = 0``.

    References
    ----------
    Tango 1998, Stat Med 17:891, doi 10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B.

    Examples
    --------
    >>> f"{tango(12, 2, 50):.5f}"
    '0.20000 (0.06111 to 0.34471)'
    """
    if n == 0:
        return undefined("no paired case", level=level)
    z, d = z_of(level), (gained - lost) / n

    def score(delta: float) -> float:
        a, b = 2 * n, -gained - lost + (2 * n - gained + lost) * delta
        c = -lost * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = n * (2 * q + delta * (1 - delta))
        gap = gained - lost - n * delta
        return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap)

    low = -1.0 if d <= -1 else _bisect(lambda x: score(x) - z, -1.0, d)
    high = 1.0 if d >= 1 else _bisect(lambda x: score(x) + z, d, 1.0)
    return Estimate(d, low, high, level, "tango", round(n))


def mcnemar_midp(gained: int, lost: int) -> float:
    """Two-sided mid-p value of McNemar's test; 1 where nothing changed.

    ``p = 2 P(X <= min(b, c)) - P(X = min(b, c))``, X ~ Binomial(b + c, 1/2)

    Parameters
    ----------
    gained, lost : int
        Cases wrong before and right after, and the reverse.

    Returns
    -------
    float
        p-value in (0, 1].

    References
    ----------
    Fagerland 2013, BMC Med Res Methodol 13:91, doi 10.1186/1471-2288-13-91.

    Examples
    --------
    >>> round(mcnemar_midp(1, 7), 5)
    0.03906
    """
    from scipy.special import bdtr

    discordant, fewer = gained + lost, min(gained, lost)
    if discordant == 0:
        return 1.0
    below = bdtr(fewer - 1, discordant, 0.5) if fewer else 0.0
    return min(1.0, float(bdtr(fewer, discordant, 0.5) + below))


def smallest_provable_loss(n: int, *, level: float = 0.95) -> float:
    """Minimum detectable loss: what ``n`` cases can exclude if coding changes no prediction.

    ``z² / (n + z²)``: the lower Tango limit without discordant cases. A margin below it
    cannot be shown by any outcome; NaN for ``n = 0``.

    Parameters
    ----------
    n : float
        Number of cases, or their effective number.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    float
        Loss in [0, 1]; NaN for ``n = 0``.

    Examples
    --------
    >>> round(100 * smallest_provable_loss(179), 2)
    2.1
    """
    z = z_of(level)
    return z * z / (n + z * z) if n else math.nan


def _bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """Find the root of a decreasing function, to double precision."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return (low + high) / 2
