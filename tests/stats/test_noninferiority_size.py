"""How often the paired test passes a loss of exactly the margin, by enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multinomial

from bitdose.stats.noninferiority import _dirichlet_p, paired_loss_test, tango_p

N = 50
GAINED, LOST = (a.ravel() for a in np.meshgrid(np.arange(N + 1), np.arange(N + 1)))
GAINED, LOST = (a[GAINED + LOST <= N] for a in (GAINED, LOST))


@pytest.mark.parametrize("margin", [0.05, 0.1, 0.2])
def test_a_loss_of_the_margin_passes_at_most_as_often_as_alpha(margin: float) -> None:
    """Over all outcomes of 50 cases and any chance of a gain; Tango's test alone passes it too often."""
    pairs = list(zip(GAINED.tolist(), LOST.tolist(), strict=True))
    tango = np.array([tango_p(b, c, N, margin) for b, c in pairs])
    both = np.maximum(tango, [_dirichlet_p(b, c, N, margin) for b, c in pairs])
    for b, c in ((0, 0), (2, 1), (0, 3), (9, 12)):
        place = pairs.index((b, c))
        assert paired_loss_test(b, c, N, margin=margin, alpha=0.05).p == both[place]
    outcomes = np.column_stack([GAINED, LOST, N - GAINED - LOST])
    gains = [gain for gain in (0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3) if 2 * gain + margin < 1]
    chances = np.array([multinomial.pmf(outcomes, N, [g, g + margin, 1 - 2 * g - margin]) for g in gains])
    assert chances.sum(1) == pytest.approx(1)
    for alpha in (0.05, 0.025, 0.0125):
        assert (chances @ (both <= alpha)).max() <= alpha
    assert (chances @ (tango <= 0.05)).max() > 0.05
