"""What the weighted metrics promise: the plain metric on the cases repeated as often as they weigh."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bitdose.metrics import calibration, classification, weighted

N, K, DRAWS = 60, 3, 12


@pytest.fixture(scope="module", params=[1, 8], ids=["ties", "no-ties"])
def data(request: pytest.FixtureRequest) -> tuple[np.ndarray, ...]:
    """Draw true classes, answers, probabilities and integer weights, with and without tied scores."""
    rng = np.random.default_rng(request.param)
    true, answer = rng.integers(0, K, (2, N))
    p = np.round(rng.dirichlet(np.ones(K), N), request.param)
    return true, answer, p, rng.integers(0, 4, (DRAWS, N)).astype(float)


def repeated(data: tuple[np.ndarray, ...]) -> list[tuple[np.ndarray, ...]]:
    """Write each draw out as a set in which a case stands as often as it weighs."""
    *columns, weights = data
    return [tuple(np.repeat(c, w.astype(int), axis=0) for c in columns) for w in weights]


def test_integer_weights_repeat_cases(data: tuple[np.ndarray, ...]) -> None:
    """Every metric under integer weights is the plain one on the set written out."""
    true, answer, p, w = data
    sets = repeated(data)
    confusions = [classification.confusion_matrix(t, a, K) for t, a, _ in sets]
    np.testing.assert_array_equal(weighted.weighted_confusion(true, answer, w, K), confusions)
    for k in range(K):
        areas = [classification.auroc(t == k, q[:, k]) for t, _, q in sets]
        np.testing.assert_allclose(weighted.weighted_auroc(true == k, p[:, k], w), areas, atol=1e-12)
    scores = [calibration.brier_score(t, q) for t, _, q in sets]
    np.testing.assert_allclose(weighted.weighted_brier(true, p, w), scores, atol=1e-12)
    errors = [calibration.expected_calibration_error(t, q, bins=7) for t, _, q in sets]
    np.testing.assert_allclose(weighted.weighted_ece(true, p, w, 7), errors, atol=1e-12)


def test_fractions_weigh_as_scikit_learn_weighs(data: tuple[np.ndarray, ...]) -> None:
    """Under weights that are no integers the area is scikit-learn's with sample weights."""
    true, _, p, _ = data
    w = np.random.default_rng(9).gamma(1.0, size=(DRAWS, N))
    expected = [roc_auc_score(true == 0, p[:, 0], sample_weight=one) for one in w]
    np.testing.assert_allclose(weighted.weighted_auroc(true == 0, p[:, 0], w), expected, atol=1e-12)


def test_some_cases_of_many(data: tuple[np.ndarray, ...]) -> None:
    """With ``cases`` the metrics are those of these columns of the weights alone."""
    true, answer, p, w = data
    cases = np.random.default_rng(3).permutation(N)[:40]
    t, a, q, own = true[cases], answer[cases], p[cases], w[:, cases]
    pairs = [
        (weighted.weighted_confusion(t, a, w, K, cases=cases), weighted.weighted_confusion(t, a, own, K)),
        (
            weighted.weighted_auroc(t == 1, q[:, 1], w, cases=cases),
            weighted.weighted_auroc(t == 1, q[:, 1], own),
        ),
        (weighted.weighted_brier(t, q, w, cases=cases), weighted.weighted_brier(t, q, own)),
        (weighted.weighted_ece(t, q, w, cases=cases), weighted.weighted_ece(t, q, own)),
    ]
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_layout_of_the_weights_does_not_matter(data: tuple[np.ndarray, ...]) -> None:
    """Weights made case by case and transposed give the same areas, to the last bit."""
    true, _, p, w = data
    other = np.ascontiguousarray(w.T).T
    found = [weighted.weighted_auroc(true == 2, p[:, 2], one) for one in (w, other)]
    np.testing.assert_array_equal(*found)


def test_without_weight_there_is_no_metric() -> None:
    """A draw that takes no positive has no area, one that takes nothing has no score: NaN, the rest stand."""
    p, w = np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([[0.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    assert np.isnan(weighted.weighted_auroc([1, 0], p[:, 0], w)).tolist() == [True, True, False]
    assert np.isnan(weighted.weighted_brier([0, 1], p, w)).tolist() == [False, True, False]
    assert np.isnan(weighted.weighted_ece([0, 1], p, w)).tolist() == [False, True, False]
    assert np.isnan(weighted.weighted_auroc([1, 0], [np.nan, 0.1], w)).all()
    assert weighted.weighted_auroc([], [], np.ones((2, 0))).shape == (2,)


def test_two_thousand_draws_take_milliseconds() -> None:
    """An area of 1,761 cases in 2,000 draws takes some milliseconds, so that a study takes seconds."""
    rng = np.random.default_rng(0)
    w = np.ascontiguousarray(rng.integers(0, 3, (1761, 2000)).astype(float)).T
    positive, score = rng.random(1761) < 0.3, rng.random(1761)
    times = []
    for _ in range(5):
        started = time.process_time()
        weighted.weighted_auroc(positive, score, w)
        times.append(time.process_time() - started)
    assert min(times) < 0.1  # 0.006 s on an idle core
