"""One-sided tests of "what coding costs is below the margin", valid at any number of losses.

A bootstrap cannot see what never happened in the sample, and with few changed answers it is too
sure of itself. So one observation is added to the data: the worst that could have been seen, a case
that was right and is now wrong. The weights of all observations are then drawn from the uniform
Dirichlet distribution (Learned-Miller & Thomas 2020), and the upper quantile of the weighted loss
is its limit. For a plain share this is exactly the Clopper-Pearson limit; for any other metric it
is its natural extension. ``benchmarks/validity.py`` shows what it keeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2
_EDGE, _TINY = 1 - 1e-9, 1e-12


@dataclass(frozen=True)
class LossTest:
    """One test of a loss against its margin.

    Parameters
    ----------
    loss : float
        As observed: pristine minus coded for what should be high, coded minus pristine for what
        should be low, the rate itself for flips. Positive is worse; NaN where undefined.
    upper : float
        One-sided upper confidence limit of the loss at level ``1 - alpha``.
    p : float
        Of the null hypothesis that the loss is ``margin`` or more; NaN where undefined.
    margin, alpha : float
        What was asked.
    method : str
        Name of the test.
    n : int
        Units of resampling behind it.
    unit : str
        ``case`` or ``patient``.
    reason : str
        Why there is no value; empty where there is one.
    """

    loss: float
    upper: float
    p: float
    margin: float
    alpha: float
    method: str
    n: int
    unit: str = "case"
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the loss is shown to be below the margin."""
        return self.p <= self.alpha  # never true of NaN


def untestable(reason: str, *, margin: float, alpha: float, n: int = 0, unit: str = "case") -> LossTest:
    """Return a test that could not be made, with the reason; it does not pass."""
    return LossTest(math.nan, math.nan, math.nan, margin, alpha, "undefined", n, unit, reason)


def paired_loss_test(gained: int, lost: int, n: int, *, margin: float, alpha: float) -> LossTest:
    """Test the loss of a proportion on the same independent cases.

    Both Tango's score test and the worst-case Dirichlet test must reject: the first because it
    agrees with the interval that is shown, the second because Tango's exceeds its level by up to
    a fifth in small samples. With b gained and c lost the second one's loss is ``S (2F - 1)``,
    ``S ~ Beta(b + c + 1, n - b - c)`` and ``F ~ Beta(c + 1, b)``.

    Parameters
    ----------
    gained, lost : int
        Cases wrong before and right after, and the reverse.
    n : int
        All paired cases; 0 gives NaN with a reason.
    margin, alpha : float
        In (0, 1).

    References
    ----------
    Tango 1998, Stat Med 17:891. Learned-Miller & Thomas 2020, arXiv 1905.06208.

    Examples
    --------
    >>> paired_loss_test(0, 0, 300, margin=0.01, alpha=0.05).passed
    True
    >>> paired_loss_test(0, 0, 298, margin=0.01, alpha=0.05).passed
    False
    """
    if n == 0:
        return untestable("no paired case", margin=margin, alpha=alpha)
    tail = _dirichlet_tail(gained, lost, n)
    p = max(tango_p(gained, lost, n, margin), tail(margin))
    upper = max(_root(lambda m: tango_p(gained, lost, n, m) - alpha), _root(lambda m: tail(m) - alpha))
    return LossTest((lost - gained) / n, upper, p, margin, alpha, "tango+dirichlet", n)


def rate_test(count: int, n: int, *, margin: float, alpha: float) -> LossTest:
    """Test that a rate is below a limit: the exact binomial test, with Clopper-Pearson's limit.

    It is the p-value that Learn-then-Test takes for a risk of zeros and ones.

    Parameters
    ----------
    count, n : int
        Events and independent cases; ``n = 0`` gives NaN with a reason.
    margin, alpha : float
        In (0, 1).

    References
    ----------
    Clopper & Pearson 1934, Biometrika 26:404. Angelopoulos et al. 2021, arXiv 2110.01052.

    Examples
    --------
    >>> rate_test(0, 299, margin=0.01, alpha=0.05).passed
    True
    """
    from scipy.special import bdtr, betaincinv

    if n == 0:
        return untestable("no case", margin=margin, alpha=alpha)
    upper = 1.0 if count == n else float(betaincinv(count + 1, n - count, 1 - alpha))
    p = float(bdtr(count, n, margin))
    return LossTest(count / n, upper, p, margin, alpha, "clopper-pearson", n)


def draws_test(loss: float, samples: Floats, *, margin: float, alpha: float, n: int, unit: str) -> LossTest:
    """Test a loss by its values under draws of weights that include a worst-case patient.

    Parameters
    ----------
    loss : float
        On the data as they are, without the worst-case patient.
    samples : numpy.ndarray
        ``(draws,)`` float: the loss under each draw of Dirichlet weights. A draw that leaves the
        metric undefined counts against passing.
    margin, alpha : float
        In (0, 1).
    n : int
        Units of resampling.
    unit : str
        Their name.
    """
    if math.isnan(loss):
        return untestable("the metric is undefined on these cases", margin=margin, alpha=alpha, unit=unit)
    if alpha * (1 + samples.size) < 1:
        reason = f"alpha {alpha:g} is below what {samples.size} draws can tell"
        return untestable(reason, margin=margin, alpha=alpha, n=n, unit=unit)
    draws = np.where(np.isnan(samples), np.inf, samples)
    p = (1 + int((draws >= margin).sum())) / (1 + draws.size)
    rank = min(draws.size, math.ceil((1 - alpha) * (draws.size + 1))) - 1
    upper = float(np.partition(draws, rank)[rank])
    return LossTest(loss, upper, p, margin, alpha, "worst-case-dirichlet", n, unit)


def both(first: LossTest, second: LossTest) -> LossTest:
    """Join two tests of one loss into one that passes only where both do.

    Examples
    --------
    >>> strict, lax = (rate_test(0, n, margin=0.01, alpha=0.05) for n in (100, 1000))
    >>> both(strict, lax).passed
    False
    """
    if math.isnan(first.p) or math.isnan(second.p):
        return first if math.isnan(first.p) else second
    method = f"{first.method}+{second.method}"
    return replace(first, p=max(first.p, second.p), upper=max(first.upper, second.upper), method=method)


def tango_p(gained: float, lost: float, n: float, margin: float) -> float:
    """One-sided p-value of Tango's score test that the loss is ``margin`` or more.

    Parameters
    ----------
    gained, lost, n : float
        Counts, or effective counts (see ``clusters.py``).
    margin : float
        In (-1, 1).

    Examples
    --------
    >>> round(tango_p(2, 12, 50, 0.34471), 4)
    0.025
    """
    from scipy.special import ndtr

    a, b = 2 * n, -gained - lost - (2 * n - gained + lost) * margin
    c = lost * margin * (1 + margin)
    q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * q - margin * (1 + margin))
    gap = gained - lost + n * margin
    if variance <= 0:
        return 0.0 if gap > 0 else 1.0
    return float(ndtr(-gap / math.sqrt(variance)))


def draws_for(alpha: float) -> int:
    """Return how many draws place the limit at ``alpha`` firmly: 50 beyond it, 2,000 at least.

    Examples
    --------
    >>> draws_for(0.05), draws_for(0.0125)
    (2000, 4000)
    """
    return min(40_000, max(2000, math.ceil(50 / alpha)))


def cases_needed(margin: float, *, alpha: float, loss: float = 0.0, changed: float = 0.0) -> int:
    """Return how many independent cases show a margin, if later cases behave like those seen.

    Parameters
    ----------
    margin, alpha : float
        As in :func:`paired_loss_test`.
    loss : float
        The loss expected; with 0 and no change the answer is the least that any study needs.
    changed : float
        Share of cases whose answer turns right or wrong, at least ``abs(loss)``.

    Returns
    -------
    int
        About the n from which on losses and gains of that share pass (exact where nothing changes: else
        whole cases make it a saw-tooth); -1 where the loss is the margin or
        more, so that no number would do.

    Examples
    --------
    >>> cases_needed(0.01, alpha=0.05)
    299
    """
    if loss >= margin:
        return -1
    changed = max(changed, abs(loss))

    def passes(n: int) -> bool:
        lost, gained = round(n * (changed + loss) / 2), round(n * (changed - loss) / 2)
        p = max(tango_p(gained, lost, n, margin), _dirichlet_p(gained, lost, n, margin))
        return p <= alpha

    high = 2
    while not passes(high):
        high *= 2
        if high > 10**8:
            return -1
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def _dirichlet_p(gained: int, lost: int, n: int, margin: float) -> float:
    """Chance that the loss under the Dirichlet weights, worst case included, is ``margin`` or more."""
    return _dirichlet_tail(gained, lost, n)(margin)


def _dirichlet_tail(gained: int, lost: int, n: int) -> Callable[[float], float]:
    """Return the chance as a function of the margin."""
    from scipy.special import betaincc, betaincinv

    same = n - gained - lost
    ahead = 2 * betaincinv(lost + 1, gained, _NODES) - 1 if gained else np.ones_like(_NODES)

    def tail(margin: float) -> float:
        reach = np.divide(margin, ahead, out=np.full_like(ahead, 2.0), where=np.abs(ahead) > _TINY)
        share = np.clip(reach, 0.0, 1.0)
        above = betaincc(gained + lost + 1, same, share) if same else (share < 1).astype(float)
        if margin >= 0:
            chance = np.where(ahead > margin, above, 0.0)
        else:
            chance = np.where(ahead > 0, 1.0, 1.0 - np.where(reach >= 1, 0.0, above))
        return float(chance @ _WEIGHTS)

    return tail


def _root(falling: Callable[[float], float]) -> float:
    """Find the margin in (-1, 1) at which a falling p-value meets alpha."""
    from scipy.optimize import brentq

    if falling(_EDGE) > 0:
        return 1.0
    return float(brentq(falling, -_EDGE, _EDGE, xtol=1e-7)) if falling(-_EDGE) > 0 else -1.0
