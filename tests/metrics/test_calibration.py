"""What the calibration metrics promise: by hand, against scikit-learn and MAPIE, and where undefined."""

from __future__ import annotations

import numpy as np
import pytest
from mapie.metrics.calibration import expected_calibration_error as mapie_ece
from sklearn.metrics import brier_score_loss

from bitdose.metrics.calibration import brier_score, calibration_gaps, expected_calibration_error


def draw(seed: int, n: int = 200, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Draw true classes and probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, k, n)
    weight = rng.gamma(0.5, size=(n, k))
    weight[np.arange(n), true] += rng.gamma(1.0, size=n)
    return true, weight / weight.sum(1, keepdims=True)


def test_brier_by_hand() -> None:
    """Right with 0.7: 0.09 + 0.04 + 0.01; wrong with 0.6: 0.36 + 0.36 + 0; the mean of the two."""
    score = brier_score([0, 1], [[0.7, 0.2, 0.1], [0.6, 0.4, 0.0]])
    assert score == pytest.approx((0.14 + 0.72) / 2)


def test_brier_spans_zero_to_two() -> None:
    """All on the true class is 0, all on a wrong one is 2."""
    assert brier_score([0, 1], [[1, 0], [0, 1]]) == 0
    assert brier_score([0, 1], [[0, 1], [1, 0]]) == 2


@pytest.mark.parametrize("k", [2, 3, 5])
def test_brier_is_the_sum_of_scikit_learns_over_the_classes(k: int) -> None:
    """Over K classes it adds up scikit-learn's binary scores, one against the rest."""
    true, p = draw(k, k=k)
    assert brier_score(true, p) == pytest.approx(sum(brier_score_loss(true == c, p[:, c]) for c in range(k)))


def test_ece_by_hand() -> None:
    """Two bins: 0.4 and 0.3 sure with one hit, 0.9 sure and wrong, so (|0.7 - 1| + |0.9 - 0|) / 3."""
    p = [[0.4, 0.3, 0.3], [0.3, 0.3, 0.3], [0.9, 0.1, 0.0]]
    assert expected_calibration_error([0, 1, 1], p, bins=2) == pytest.approx((0.3 + 0.9) / 3)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_is_mapies(bins: int) -> None:
    """On random probabilities the error is MAPIE's, which counts edges instead of bins."""
    for seed in range(5):
        true, p = draw(seed)
        hits = (p.argmax(1) == true).astype(int)
        expected = mapie_ece(hits, p.max(1), num_bins=bins + 1, split_strategy="uniform")
        assert expected_calibration_error(true, p, bins=bins) == pytest.approx(expected, abs=1e-12)


def test_bins_take_their_upper_edge() -> None:
    """A confidence on an edge belongs to the bin below it; 0 and 1 are inside."""
    gaps = calibration_gaps([0, 0, 0], [[0.5, 0.2], [0.0, 0.0], [1.0, 0.0]], bins=2)
    assert (gaps != 0).tolist() == [[True, False], [True, False], [False, False]]
    assert gaps.sum(1).tolist() == [-0.5, -1.0, 0.0]


def test_rows_need_not_sum_to_one() -> None:
    """Sigmoid outputs are taken as they are: each class is scored, the largest is the confidence."""
    assert brier_score([0], [[0.9, 0.8]]) == pytest.approx(0.01 + 0.64)
    assert expected_calibration_error([0], [[0.9, 0.8]]) == pytest.approx(0.1)


def test_missing_is_undefined() -> None:
    """No case, or a probability that is NaN, gives NaN."""
    assert np.isnan(
        [brier_score([], np.empty((0, 2))), expected_calibration_error([], np.empty((0, 2)))]
    ).all()
    p = [[0.5, 0.5], [np.nan, 0.2]]
    assert np.isnan([brier_score([0, 1], p), expected_calibration_error([0, 1], p)]).all()
