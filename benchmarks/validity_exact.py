"""The size of the paired test by enumeration: no simulation, no error of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitdose.stats.noninferiority import _dirichlet_p, paired_loss_test, tango_p

ALPHAS = (0.05, 0.025, 0.0125)
GAINS = np.concatenate([[0.0], np.geomspace(1e-4, 0.5, 60)])


def exact_sizes(n: int, margin: float) -> list[dict[str, Any]]:
    """Return the largest chance, over all chances of a gain, that n cases pass at a true loss of the margin.

    Every pair of gained and lost is tested, so nothing is assumed of how the p-value moves with either.
    """
    gained, lost = (a.ravel() for a in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    inside = gained + lost <= n
    gained, lost = gained[inside], lost[inside]
    tango = np.array([tango_p(b, c, n, margin) for b, c in zip(gained, lost, strict=True)])
    p = np.array([_dirichlet_p(b, c, n, margin) for b, c in zip(gained.tolist(), lost.tolist(), strict=True)])
    both = np.maximum(tango, p)
    check(n, margin, gained, lost, both)
    gains = GAINS[2 * GAINS + margin <= 1]
    chances = np.array([_trinomial(gained, lost, n, gain, gain + margin) for gain in gains])
    return [
        {
            "n": n,
            "margin": margin,
            "alpha": alpha,
            "size": float((chances @ (both <= alpha)).max()),
            "tango": float((chances @ (tango <= alpha)).max()),
        }
        for alpha in ALPHAS
    ]


def check(n: int, margin: float, gained: np.ndarray, lost: np.ndarray, p: np.ndarray) -> None:
    """Stop if the p-values are not those of the whole test."""
    for place in range(0, p.size, max(1, p.size // 20)):
        whole = paired_loss_test(int(gained[place]), int(lost[place]), n, margin=margin, alpha=0.05)
        if whole.p != p[place]:
            raise SystemExit(f"paired_loss_test: expected p = {p[place]}, got {whole.p}")


def _trinomial(gained: np.ndarray, lost: np.ndarray, n: int, gain: float, loss: float) -> np.ndarray:
    from scipy.special import gammaln, xlogy

    same = n - gained - lost
    ways = gammaln(n + 1) - gammaln(gained + 1) - gammaln(lost + 1) - gammaln(same + 1)
    rest = max(0.0, 1 - gain - loss)
    return np.exp(ways + xlogy(gained, gain) + xlogy(lost, loss) + xlogy(same, rest))
