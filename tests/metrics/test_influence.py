"""What an influence promises: the slope of the metric as a case gets heavier."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from bitdose.metrics import classification
from bitdose.metrics.influence import auroc_influence, f1_changes, f1_influence
from bitdose.metrics.weighted import weighted_auroc, weighted_confusion

STEP = 1e-5


def nudged(n: int) -> np.ndarray:
    """Weigh each case in turn a little more and a little less than one, ``(2 n, n)``."""
    return np.concatenate([1 + STEP * np.eye(n), 1 - STEP * np.eye(n)])


def slope(values: np.ndarray) -> np.ndarray:
    """Return the central difference of what the nudged weights give."""
    up, down = np.split(values, 2)
    return (up - down) / (2 * STEP)


@pytest.mark.parametrize("seed", range(3))
def test_influence_is_the_slope(seed: int) -> None:
    """F1 of each class and the area, ties among the scores, move as their influence says."""
    rng = np.random.default_rng(seed)
    true, answer = rng.integers(0, 3, (2, 40))
    score = np.round(rng.random(40), 1)
    f1 = classification.f1_score(weighted_confusion(true, answer, nudged(40), 3))
    np.testing.assert_allclose(f1_influence(true, answer, 3), slope(f1), atol=1e-9)
    areas = weighted_auroc(true == 0, score, nudged(40))
    np.testing.assert_allclose(auroc_influence(true == 0, score), slope(areas), atol=1e-9)


def test_influence_sums_to_zero() -> None:
    """Weighing all cases alike moves nothing."""
    rng = np.random.default_rng(7)
    true, answer = rng.integers(0, 4, (2, 50))
    np.testing.assert_allclose(f1_influence(true, answer, 4).sum(0), 0, atol=1e-12)
    assert auroc_influence(true == 1, rng.random(50)).sum() == pytest.approx(0, abs=1e-12)


def test_f1_by_hand() -> None:
    """TP 1 of four class-and-answer marks, F1 2/3 of three: the hit gains (2 - 4/3)/3, the miss loses 2/9."""
    assert f1_influence([0, 0, 1], [0, 1, 1], 2)[:, 0] == pytest.approx([2 / 9, -2 / 9, 0])


def test_without_a_class_there_is_no_slope() -> None:
    """A class without a case, and an area of one kind, are NaN throughout."""
    assert np.isnan(f1_influence([0, 0], [0, 1], 2)[:, 1]).all()
    assert np.isnan(auroc_influence([1, 1], [0.1, 0.2])).all()


def test_changes_of_f1_add_up_to_scikit_learns_difference() -> None:
    """They sum to the difference of scikit-learn's F1 per class, and are zero where no answer moved."""
    rng = np.random.default_rng(5)
    true, before = rng.integers(0, 3, 90), rng.integers(0, 3, 90)
    after = np.where(rng.random(90) < 0.3, rng.integers(0, 3, 90), before)
    found = f1_changes(true, before, after, 3)
    expected = f1_score(true, after, average=None) - f1_score(true, before, average=None)
    np.testing.assert_allclose(found.sum(0), expected, atol=1e-12)
    assert not found[before == after].any()


def test_a_gained_case_has_a_positive_part_and_a_lost_one_a_negative() -> None:
    """For the class itself a case that turns right adds, one that turns wrong takes away."""
    true, before, after = np.array([0, 0, 0, 1]), np.array([0, 1, 0, 1]), np.array([1, 0, 0, 1])
    lost, gained, *_ = f1_changes(true, before, after, 2)[:, 0]
    assert lost < 0 < gained
