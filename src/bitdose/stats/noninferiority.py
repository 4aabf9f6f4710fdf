"""One-sided non-inferiority tests of the loss by coding, valid at any number of losses.

A bootstrap cannot represent events that are absent from the sample, and with few changed predictions
its limits are anticonservative. Therefore one worst-case observation is added to the data: a case that
was right and is now wrong. The weights of all observations are then drawn from the uniform
Dirichlet distribution (Learned-Miller & Thomas 2020), and the upper quantile of the weighted loss
is the confidence limit. For a proportion this is exactly the Clopper-Pearson limit; for any other
metric it is the natural extension. ``benchmarks/validity.py`` measures the level.
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
        Observed loss: pristine minus coded where high values are good, coded minus pristine where
        low values are good, the rate itself for flips. Positive is worse; NaN where undefined.
    upper : float
        One-sided upper confidence limit of the loss at level ``1 - alpha``.
    p : float
        p-value of the null hypothesis that the loss is ``margin`` or more; NaN where undefined.
    margin, alpha : float
        Margin and level of the test.
    method : str
        Name of the test.
    n : int
        Number of resampling units.
    unit : str
        The resampling unit: ``case`` or ``patient``.
    reason : str
        Why the test is undefined; empty where it is defined.
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
        """Whether the test shows the loss to be below the margin."""
        return self.p <= self.alpha  # False for NaN


def untestable(reason: str, *, margin: float, alpha: float, n: int = 0, unit: str = "case") -> LossTest:
    """Return an undefined test with its reason; it does not pass.

    Parameters
    ----------
    reason : str
        Why the test is undefined.
    margin, alpha : float
        Margin and level of the test.
    n : int
        Number of resampling units.
    unit : str
        The resampling unit: ``case`` or ``patient``.
    """
    return LossTest(math.nan, math.nan, math.nan, margin, alpha, "undefined", n, unit, reason)


def paired_loss_test(gained: int, lost: int, n: int, *, margin: float, alpha: float) -> LossTest:
    """Test the loss of a proportion on the same independent cases.

    Both Tango's score test and the worst-case Dirichlet test must reject: the first for consistency
    with the reported interval, the second because Tango's exceeds its level by up to 20 % in
    small samples. With b gained and c lost the loss of the second is ``S (2F - 1)``,
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

    This is the p-value of Learn-then-Test for a binary risk.

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
    """Test a loss by its values under Dirichlet weights that include a worst-case patient.

    Parameters
    ----------
    loss : float
        Loss on the data without the worst-case patient.
    samples : numpy.ndarray
        ``(draws,)`` float: loss under each sample of Dirichlet weights. A sample with an undefined
        metric counts as a failure.
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
        reason = f"alpha {alpha:g} is too small for {samples.size} Dirichlet samples"
        return untestable(reason, margin=margin, alpha=alpha, n=n, unit=unit)
    draws = np.where(np.isnan(samples), np.inf, samples)
    p = (1 + int((draws >= margin).sum())) / (1 + draws.size)
    rank = min(draws.size, math.ceil((1 - alpha) * (draws.size + 1))) - 1
    upper = float(np.partition(draws, rank)[rank])
    return LossTest(loss, upper, p, margin, alpha, "worst-case-dirichlet", n, unit)


def both(first: LossTest, second: LossTest) -> LossTest:
    """Combine two tests of one loss into one that passes only if both do.

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
    """Return the number of Dirichlet samples for level ``alpha``: 50 beyond the limit, at least 2,000.

    Examples
    --------
    >>> draws_for(0.05), draws_for(0.0125)
    (2000, 4000)
    """
    return min(40_000, max(2000, math.ceil(50 / alpha)))


def cases_needed(margin: float, *, alpha: float, loss: float = 0.0, changed: float = 0.0) -> int:
    """Return the required sample size for a margin, if later cases behave like the observed ones.

    Parameters
    ----------
    margin, alpha : float
        As in :func:`paired_loss_test`.
    loss : float
        Expected loss; with 0 and no change the result is the minimum for any study.
    changed : float
        Share of cases that turn right or wrong, at least ``abs(loss)``.

    Returns
    -------
    int
        Approximate n above which losses and gains of that share pass (exact without changes; otherwise
        the power is a saw-tooth in n); -1 where the loss is the margin or more, so that no sample
        size suffices.

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
    """Probability that the loss under the Dirichlet weights, worst case included, is ``margin`` or more."""
    return _dirichlet_tail(gained, lost, n)(margin)


def _dirichlet_tail(gained: int, lost: int, n: int) -> Callable[[float], float]:
    """Return the p-value as a function of the margin."""
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
    """Find the margin in (-1, 1) at which a decreasing p-value equals alpha."""
    from scipy.optimize import brentq

    if falling(_EDGE) > 0:
        return 1.0
    return float(brentq(falling, -_EDGE, _EDGE, xtol=1e-7)) if falling(-_EDGE) > 0 else -1.0
